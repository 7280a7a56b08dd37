-- Runs the script and then the loop. Called with the script's path (nil: standard input), its name, whether to trace,
-- and its arguments; returns what to say of the error that ended it, or nothing. What the script may overwrite is
-- fetched before it runs.

local path, name, trace = ...
local arguments = { select(4, ...) }
local unpack = rawget(_G, "unpack") or rawget(table, "unpack")
local traceback, tostring, type, getmetatable = debug.traceback, tostring, type, getmetatable
local mqtt = require("mqtt")
local run = mqtt.run

arg = { [0] = name, unpack(arguments) } -- luacheck: globals arg

local stderr = io.stderr
mqtt.log(function(level, text)
  if level == "warn" or level == "error" then stderr:write("mqtt-lua: ", text, "\n") end
end)
if trace then
  mqtt.trace(function(line) stderr:write(line, "\n") end)
end

local function describe(err)
  if type(err) ~= "string" then
    local meta = getmetatable(err)
    local readable = type(err) == "number" or type(meta) == "table" and meta.__tostring
    err = readable and tostring(err) or ("(error object is a %s value)"):format(type(err))
  end
  return traceback(err, 2)
end

local chunk, problem = loadfile(path)
if not chunk then return problem end

local ok, message = xpcall(function()
  chunk(unpack(arguments))
  run()
end, describe)
if not ok then return message end
