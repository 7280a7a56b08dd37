-- The clock of kit.clock(): time moves when the test says so, from one deadline to the next, and at each of them all
-- that follows from it runs before time goes on.

local mqtt = require("mqtt")
local native = require("mqtt.test.native")

local Clock = {}
Clock.__index = Clock

-- How many milliseconds of real time one call waits in all for a network that does not come to rest: a
-- name that does not resolve, a peer that is no embedded broker and leaves a connection half closed.
local PATIENCE = 500

-- Runs callbacks until nothing happens any more without time going on. Returns what is left of the patience.
local function settle(patience)
  while true do
    while mqtt.poll() > 0 do end -- luacheck: ignore 542
    if native.is_quiet() or patience <= 0 then return patience end
    if mqtt.poll(0.001) == 0 then patience = patience - 1 end
  end
end

---Moves time on by so many milliseconds. Everything that is due on the way runs in its order: timers, keep-alive, time
---limits, waits before reconnects, and the callbacks that they lead to, answers of embedded brokers included. An error
---in a callback comes out, and time stands where it happened.
---@param ms number
function Clock:advance(ms)
  local hand = self.hand
  local patience = settle(PATIENCE)
  hand:aim(ms)
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
  native.restore()
end

local clock = {}

---Runs callbacks until nothing is under way any more that needs no time to pass.
function clock.settle()
  settle(PATIENCE)
end

---@return nodemcu.mqtt.test.clock
function clock.start()
  return setmetatable({ hand = native.clock() }, Clock)
end

return clock
