-- The console of a device: what `print` writes goes to standard output or where node.output leads it, and node.input
-- types into the interpreter.

local device = require("nodemcu.device")
local loading = require("nodemcu.loading")
local world = require("nodemcu.sim")
local check = device.check

local console = {}

local stock_print = print
local sink, also_here, telling
local typed

world.at_reset(function()
  sink, also_here, telling = nil, true, false
  typed = ""
end)

-- The `print` of device scripts.
function console.print(...)
  -- what the sink itself prints would come back to it
  if not sink or telling then return stock_print(...) end
  if also_here then stock_print(...) end
  local texts = {}
  for n = 1, select("#", ...) do texts[n] = tostring((select(n, ...))) end
  telling = true
  local ok, problem = pcall(sink, table.concat(texts, "\t") .. "\n")
  telling = false
  if not ok then error(problem, 0) end
end

---Leads what is printed to a function, as strings; nil: no longer.
---@param callback fun(text: string)?
---@param serial (0|1|boolean)? also print it here (default 1)
function console.output(callback, serial)
  sink = check.optional_callback(1, "output", callback)
  also_here = serial ~= 0 and serial ~= false
end

-- A chunk; nil where the text is the beginning of one; nil and a message where it is none.
local function compile(text)
  local expression = text:match("^%s*=(.*)$")
  if expression then return loading.text("return " .. expression, "=stdin") end
  local chunk, problem = loading.text(text, "=stdin")
  if chunk then return chunk end
  if problem:match("<eof>'?$") then return nil end
  chunk = loading.text("return " .. text, "=stdin")
  if chunk then return chunk end
  return nil, problem
end

local function finish(ok, ...)
  if not ok or select("#", ...) > 0 then console.print(...) end
end

-- Runs what was typed, if it is a whole chunk.
local function run()
  local chunk, problem = compile(typed)
  if not chunk and not problem then return end
  typed = ""
  if chunk then finish(pcall(chunk)) else console.print(problem) end
end

---Types a line, or some: what they print goes where print leads it. A chunk that is not whole waits for the rest.
---@param text string
function console.input(text)
  text = check.string(1, "input", text)
  device.later(function()
    typed = typed == "" and text or typed .. "\n" .. text
    run()
  end)
end

return console
