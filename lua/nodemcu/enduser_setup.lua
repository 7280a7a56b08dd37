-- `enduser_setup`: the portal of a device that has no network yet. There is one here, so it is done at once.

local device = require("nodemcu.device")
local check = device.check

---@class nodemcu.enduser_setup
local enduser_setup = {}

local is_manual = false

---start([ssid,] [connected()[, failed(code, text)[, debug(text)]]])
function enduser_setup.start(ssid, ...)
  local connected
  if type(ssid) == "string" then connected = ... else connected = ssid end
  if check.optional_callback(1, "start", connected) then device.later(connected) end
end

function enduser_setup.stop() end

---@param on boolean?
---@return boolean
function enduser_setup.manual(on)
  if on ~= nil then is_manual = on and true or false end
  return is_manual
end

return device.seal("enduser_setup", enduser_setup)
