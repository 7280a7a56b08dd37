-- Runs MQTT in a copas loop:
--
--   local copas = require("copas")
--   require("mqtt.copas").start()
--   copas.loop()
--
-- A copas thread sleeps on the module's descriptor and runs callbacks when something is pending. It ends when nothing
-- is left that could call back, or after mqtt.stop(). Callbacks can't yield: give work that waits to copas.addthread. An error in a callback
-- goes where copas takes those of its threads, and ends this one; `start` makes another, and nothing is lost.

local mqtt = require("mqtt")
local copas = require("copas")

-- What copas takes for a socket: it "receives" by running what is pending, and until it is closed there is never more.
local source = {
  getfd = mqtt.pollable.getfd,
  dirty = mqtt.pollable.dirty,
  receive = function()
    if mqtt.run(0) then return nil, "closed" end
    return nil, "timeout"
  end,
  close = function() end,
}

---@class nodemcu.mqtt.copas
local glue = {}

---Starts the thread; returns it.
---@return thread
function glue.start()
  return copas.addthread(function() copas.receive(source) end)
end

return glue
