-- One boot: sets up the device, runs the script and then the loop. Called with a table of what the runner was told;
-- returns what to say of the error that ended the boot, or nil, how the script ended it ("restart", "dsleep" and
-- microseconds, or nil), and what outlives it. What the script may overwrite is fetched before it runs.

local told = ...
local traceback, tostring, type, getmetatable, xpcall = debug.traceback, tostring, type, getmetatable, xpcall
-- A configuration may have what is written to io.stderr published: not these lines, which publishing itself makes.
local stderr, write = io.stderr, io.stderr.write

local mqtt = require("mqtt")
local run, stop = mqtt.run, mqtt.stop

-- ---- What is said, and how loudly: -1 with -q, 1 and more with -v ----

-- The least loudness at which the lines of a level are printed.
local LOUDNESS = { error = -1, warn = 0, info = 1, debug = 2 }

mqtt.log(function(level, text)
  if told.loudness >= (LOUDNESS[level] or 0) then write(stderr, "mqtt-lua: ", text, "\n") end
end)

if told.trace then
  mqtt.trace(function(line) write(stderr, line, "\n") end)
end

-- ---- The device ----

local device = require("nodemcu.device")
device.chipid = told.chipid
device.boot = told.boot
device.retained = told.retained
device.scripts = told.path and told.path:match("^(.*)/[^/]*$")

function device.warn(text)
  if told.loudness >= 0 then write(stderr, "mqtt-lua: ", text, "\n") end
end

local ending, sleep
function device.power(kind, us)
  ending, sleep = ending or kind, sleep or us
  stop()
end

local nodemcu = require("nodemcu")
local loading = require("nodemcu.loading")
local unpack = rawget(_G, "unpack")

-- ---- The script ----

local function describe(err)
  if type(err) ~= "string" then
    local meta = getmetatable(err)
    local readable = type(err) == "number" or type(meta) == "table" and meta.__tostring
    err = readable and tostring(err) or ("(error object is a %s value)"):format(type(err))
  end
  return traceback(err, 2)
end

arg = { [0] = told.name, unpack(told.arguments) } -- luacheck: globals arg

local function load_script()
  if not told.source then return loading.file(told.path) end
  -- what loadfile does with a first line for the shell
  local text = told.source:gsub("^#[^\n]*", "")
  return loading.text(text, "=stdin")
end

local ok, problem = pcall(nodemcu.configure, { root = told.root, profile = told.profile })
if not ok then return problem end
loading.extend_path()
-- What the runner was told is not the script's to change.
require("mqtt.file").root = function() error("the root is what --root says", 0) end
package.loaded.mqtt = _G.mqtt

local environment, chunk
if told.environment then
  environment, problem = loading.file(told.environment)
  if not environment then return problem end
end
chunk, problem = load_script()
if not chunk then return problem end

if told.config then
  local applied, wrong = pcall(require("mgos_mqtt").configure_file, told.config)
  if not applied then return (wrong:gsub("^mqtt%-lua:%d+: ", "")) end
end

ok, problem = xpcall(function()
  if environment then environment() end
  chunk(unpack(told.arguments))
  if not ending then run() end
end, describe)
if not ok then return problem end
return nil, ending, sleep, device.retained
