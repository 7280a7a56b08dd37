-- Runs MQTT in a loop around luasocket's select:
--
--   local select = require("mqtt.socket").select
--   while true do
--     local readable, writable, why = select(receivers, senders, timeout)
--     …
--   end
--
-- It is socket.select, and runs the callbacks of what is pending meanwhile. It returns early after it ran some.

local mqtt = require("mqtt")
local socket = require("socket")

---@class nodemcu.mqtt.socket
local glue = {}

---@param receivers table?
---@param senders table?
---@param timeout number?
---@return table readable
---@return table writable
---@return string? why
function glue.select(receivers, senders, timeout)
  local watched = { mqtt.pollable }
  for _, one in ipairs(receivers or {}) do watched[#watched + 1] = one end
  local found, writable, why = socket.select(watched, senders, timeout)
  if found[mqtt.pollable] then mqtt.poll() end
  local readable = {}
  for _, one in ipairs(found) do
    if one ~= mqtt.pollable then
      readable[#readable + 1] = one
      readable[one] = #readable
    end
  end
  return readable, writable, why
end

return glue
