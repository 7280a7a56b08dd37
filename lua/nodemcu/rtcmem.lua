-- `rtcmem`: 128 numbers that outlive restarts and deep sleep, as far as the runner makes them.

local device = require("nodemcu.device")
local check = device.check

---@class nodemcu.rtcmem
local rtcmem = {}

local SLOTS = 128

---@param index integer 0..127
---@param count integer? default 1
---@return integer ...
function rtcmem.read32(index, count)
  index = check.integer(1, "read32", index, 0, SLOTS - 1)
  count = count == nil and 1 or check.integer(2, "read32", count, 1, SLOTS - index)
  local values = {}
  for n = 1, count do values[n] = device.retained[index + n] or 0 end
  return (unpack or table.unpack)(values, 1, count) -- luacheck: globals unpack table.unpack
end

---@param index integer 0..127
---@param ... integer
function rtcmem.write32(index, ...)
  index = check.integer(1, "write32", index, 0, SLOTS - 1)
  for n = 1, select("#", ...) do
    local value = check.integer(n + 1, "write32", (select(n, ...)))
    if index + n > SLOTS then device.raise("wrong arg range") end
    device.retained[index + n] = math.floor((value + 2 ^ 31) % 2 ^ 32 - 2 ^ 31)
  end
end

return device.seal("rtcmem", rtcmem)
