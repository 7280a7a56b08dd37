-- The clock of kit.clock(): time moves when the test says so, from one deadline to the next, and at each of them all
-- that follows from it runs before time goes on.

local mqtt = require("mqtt")
local native = require("mqtt.test.native")
local blame = require("mqtt.test.blame")

local Clock = {}
Clock.__index = Clock

-- The one that was started last and is not restored.
local current

-- How many milliseconds of real time are given to a network that does not come to rest: a name that does not resolve, a
-- peer that is no embedded broker and leaves a connection half closed. After the first time it is not believed in again
-- so easily.
local PATIENCE, LATER = 2000, 20

-- Runs callbacks until nothing happens any more without time going on. Returns the patience to have next time.
local function settle(patience)
  local left = patience
  while true do
    while mqtt.poll() > 0 do end -- luacheck: ignore 542
    if native.is_quiet() then return patience end
    if left <= 0 then return LATER end
    if mqtt.poll(0.001) == 0 then left = left - 1 end
  end
end

---Moves time on by so many milliseconds. Everything that is due on the way runs in its order: timers, keep-alive, time
---limits, waits before reconnects, and the callbacks that they lead to, answers of embedded brokers included. An error
---in a callback comes out, and time stands where it happened.
---@param ms number
function Clock:advance(ms)
  local hand = self.hand
  local patience = settle(PATIENCE)
  blame(hand.aim, hand, ms)
  while hand:step() do
    patience = settle(patience)
  end
  settle(patience)
end

---Milliseconds since the clock was started.
---@return number
function Clock:now()
  return self.hand:now()
end

---Brings the real clock back. Clients that were made under this one keep it and stand still.
function Clock:restore() -- luacheck: ignore 212
  current = nil
  native.restore()
end

local clock = {}

---Runs callbacks until nothing is under way any more that needs no time to pass.
function clock.settle()
  settle(PATIENCE)
end

---@return nodemcu.mqtt.test.clock
function clock.start()
  current = setmetatable({ hand = native.clock() }, Clock)
  return current
end

---The clock that a test has started, or nil.
---@return nodemcu.mqtt.test.clock?
function clock.current()
  return current
end

return clock
