-- Runs MQTT in a luv (libuv) loop:
--
--   local uv = require("luv")
--   require("mqtt.luv").start()
--   uv.run()
--
-- A poll handle watches the module's descriptor and runs callbacks when something is pending. It is closed when nothing
-- is left that could call back, or after mqtt.stop(). luv ends the program at an error in a callback: catch them, or
-- give `start` a function that gets them.

local mqtt = require("mqtt")
local uv = require("luv")

---@class nodemcu.mqtt.luv
local glue = {}

---Starts watching; returns the handle.
---@param on_error (fun(err: any))?
---@return userdata
function glue.start(on_error)
  local handle = uv.new_poll(mqtt.fileno())
  handle:start("r", function()
    local ok, done = true, nil
    if on_error then ok, done = pcall(mqtt.run, 0) else done = mqtt.run(0) end
    if not ok then return on_error(done) end
    if done and not handle:is_closing() then handle:close() end
  end)
  return handle
end

return glue
