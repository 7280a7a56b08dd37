-- Runs MQTT in a cqueues loop:
--
--   local cqueues = require("cqueues")
--   local loop = cqueues.new()
--   require("mqtt.cqueues").start(loop)
--   assert(loop:loop())
--
-- A coroutine of the loop sleeps on the module's descriptor and runs callbacks when something is pending. It ends when
-- nothing is left that could call back, or after mqtt.stop(). Callbacks can't yield: give work that waits to loop:wrap.

local mqtt = require("mqtt")
local cqueues = require("cqueues")

---@class nodemcu.mqtt.cqueues
local glue = {}

---Starts the coroutine in a loop.
---@param loop table
function glue.start(loop)
  loop:wrap(function()
    while not mqtt.run(0) do cqueues.poll(mqtt.pollable) end
  end)
end

return glue
