-- `tmr.softwd`: restarts the device unless it is called again in time. The rest of `tmr` is native.

local device = require("nodemcu.device")
local tmr = require("mqtt.tmr")

local MS_PER_SECOND = 1000

local timer = tmr.create()

---Starts the countdown anew; a negative number stops it.
---@param seconds integer
function tmr.softwd(seconds)
  local left = device.check.integer(1, "softwd", seconds)
  timer:unregister()
  if left < 0 then return end
  timer:alarm(MS_PER_SECOND, tmr.ALARM_AUTO, function()
    left = left - 1
    if left > 0 then return end
    timer:unregister()
    device.warn("tmr.softwd: the time is up, restarting")
    require("nodemcu.node").restart()
  end)
end
