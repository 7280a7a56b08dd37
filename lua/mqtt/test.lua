-- What tests of MQTT scripts need: a broker in the process, assertions that wait, a clock that the test moves, and
-- device scripts in an environment of their own. Works with any test framework; with busted (luassert) there are also
-- assert.published and assert.connected.

local mqtt = require("mqtt")
local broker = require("mqtt.broker")
local blame = require("mqtt.test.blame")
local clock = require("mqtt.test.clock")
local ends = require("mqtt.test.ends")
local script = require("mqtt.test.script")

local unpack = rawget(_G, "unpack") or table.unpack -- luacheck: ignore 143

local kit = {}

---Starts an embedded broker on a free port, or as the options of mqtt.broker.start say. Its port is in `port`. One that
---a test of busted starts stops with it.
---@param options nodemcu.mqtt.broker.options?
---@return nodemcu.mqtt.broker
function kit.broker(options)
  return ends.with_test(blame(broker.start, options), "stop")
end

-- Raises the error of a wrong argument where the test made the call.
local function check(is_right, n, name, expected, value)
  if is_right then return end
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, name, expected, type(value)), 3)
end

local function is_callable(value)
  local meta = getmetatable(value)
  return type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
end

-- How often a condition is looked at, in seconds: it may be about something that no callback tells of.
local LOOK = 0.02

-- What pcall returned for a condition, as a table: ok, holds, and the values or the error.
local function judge(ok, ...)
  local n = select("#", ...)
  return { ok = ok, holds = ok and (n == 0 or (...) and true) or false, n = n, ... }
end

---Runs the loop until the condition holds, and returns its values. It holds when it raises no error and returns
---something true or nothing at all: so a function with assertions in it will do. After `timeout` seconds (default 5)
---its last error is raised. An error in a callback comes out at once.
---@param condition fun(): ...
---@param timeout number?
---@return any ...
function kit.eventually(condition, timeout)
  check(is_callable(condition), 1, "eventually", "function", condition)
  check(timeout == nil or type(timeout) == "number", 2, "eventually", "number", timeout)
  timeout = timeout or 5
  local last = judge(pcall(condition))
  -- Looks are counted, not seconds: a machine that is busy gives the script its turns all the same.
  local looks = math.max(1, math.ceil(timeout / LOOK))
  while not last.holds and looks > 0 do
    if mqtt.poll(LOOK) == 0 then looks = looks - 1 end
    last = judge(pcall(condition))
  end
  if last.holds then return unpack(last, 1, last.n) end
  if last.ok then error(("the condition did not come true within %g s"):format(timeout), 2) end
  if type(last[1]) ~= "string" then error(last[1], 0) end
  error(("within %g s: %s"):format(timeout, last[1]), 2)
end

---Puts a clock that stands still in the place of the real one, for clients made and timers started from now on, to the
---end of the test of busted that does so or until it is restored.
---@return nodemcu.mqtt.test.clock
function kit.clock()
  return ends.with_test(clock.start(), "restore")
end

---Runs the loop until nothing is under way any more: what clients have sent has arrived at the embedded brokers and is
---answered, the answers have arrived, and the callbacks have run. What time has yet to bring about is not waited for.
function kit.settle()
  clock.settle()
end

---Runs a device script in an environment of its own: it may set globals as it likes. It stops with the test of busted
---that runs it, if not before.
---@param path string
---@param options nodemcu.mqtt.test.script.options?
---@return nodemcu.mqtt.test.script
function kit.run_script(path, options)
  check(type(path) == "string", 1, "run_script", "string", path)
  check(options == nil or type(options) == "table", 2, "run_script", "table", options)
  for _, key in ipairs { "args", "globals", "broker" } do
    local value = options and options[key]
    check(value == nil or type(value) == "table", 2, "run_script", ("table or nil as '%s'"):format(key), value)
  end
  return ends.with_test(script.run(path, options), "stop")
end

local busted = package.loaded.busted
if type(busted) == "table" and busted.subscribe then ends.listen(busted) end

local has_luassert, luassert = pcall(require, "luassert")
if has_luassert then require("mqtt.test.assertions").register(luassert, kit) end

return kit
