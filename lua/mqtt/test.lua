-- What tests of MQTT scripts need: a broker in the process, a wait for a condition, a clock that the test moves.

local mqtt = require("mqtt")
local broker = require("mqtt.broker")
local native = require("mqtt.test.native")

local kit = {}

-- Starts an embedded broker on a free port, or as the options of mqtt.broker.start say. Its port is in `port`.
function kit.broker(options)
  return broker.start(options)
end

-- How often a condition is looked at, in seconds: it may be about something that no callback tells of.
local LOOK = 0.02

-- Runs the loop until the condition is true and returns its value; an error after `timeout` seconds (default 5).
function kit.eventually(condition, timeout)
  timeout = timeout or 5
  for _ = 1, math.max(1, math.ceil(timeout / LOOK)) do
    local value = mqtt.wait(condition, LOOK)
    if value then return value end
  end
  error(("the condition did not come true within %g s"):format(timeout), 2)
end

-- Puts a clock that stands still in the place of the real one, for clients made and timers started from now on.
-- clock:advance(ms) moves it, clock:restore() brings the real one back.
function kit.clock()
  return native.clock()
end

return kit
