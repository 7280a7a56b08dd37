-- `rtctime`: the host's time, moved by what a script sets.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local host = require("mqtt.host")
local check = device.check

---@class nodemcu.rtctime
local rtctime = {}

-- The device counts seconds in 32 bits.
local LAST = 2 ^ 32 - 1

-- Seconds that the device's clock is ahead of the host's.
local ahead

world.at_reset(function() ahead = 0 end)

---@return integer seconds, integer micros, integer rate
function rtctime.get()
  local seconds, micros = host.time()
  local now = seconds + micros / 1e6 + ahead
  if ahead == 0 then return seconds, micros, 0 end
  return math.floor(now), math.floor(now % 1 * 1e6), 0
end

---@param seconds integer since 1970
---@param micros integer?
function rtctime.set(seconds, micros)
  seconds = check.integer(1, "set", seconds, 0, LAST)
  micros = micros == nil and 0 or check.integer(2, "set", micros, 0, LAST)
  local now, fraction = host.time()
  ahead = seconds + micros / 1e6 - (now + fraction / 1e6)
  -- set to the host's time
  if math.abs(ahead) < 0.001 then ahead = 0 end
end

---@param micros integer
function rtctime.adjust_delta(micros)
  ahead = ahead + check.integer(1, "adjust_delta", micros, -LAST, LAST) / 1e6
  return micros
end

---@param seconds integer since 1970
---@return table<"year"|"mon"|"day"|"hour"|"min"|"sec"|"wday"|"yday", integer>
function rtctime.epoch2cal(seconds)
  local date = os.date("!*t", check.integer(1, "epoch2cal", seconds, 0, LAST))
  return {
    year = date.year, mon = date.month, day = date.day, hour = date.hour, min = date.min, sec = date.sec,
    wday = date.wday, yday = date.yday,
  }
end

---@param us integer
function rtctime.dsleep(us)
  require("nodemcu.node").dsleep(check.integer(1, "dsleep", us, 0))
end

---Sleeps so that the end falls on a multiple of `us`, at least `least` away.
---@param us integer
---@param least integer
function rtctime.dsleep_aligned(us, least)
  us = check.integer(1, "dsleep_aligned", us, 1)
  least = check.integer(2, "dsleep_aligned", least, 0)
  local seconds, micros = rtctime.get()
  local left = us - (seconds % us * (1e6 % us) + micros) % us
  if left < least then left = left + math.ceil((least - left) / us) * us end
  require("nodemcu.node").dsleep(math.floor(left))
end

return device.seal("rtctime", rtctime)
