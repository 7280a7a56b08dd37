-- `sntp`: asks nobody; the host's time is right.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local rtctime = require("nodemcu.rtctime")
local host = require("mqtt.host")
local check = device.check

---@class nodemcu.sntp
local sntp = {}

local SERVER = "0.nodemcu.pool.ntp.org"
local offset

world.at_reset(function() offset = 0 end)

---Sets rtctime. sync([server or servers][, ok(seconds, micros, server, info)][, failed(code, text)][, repeated]): `ok`
---runs once, also when it is to be repeated.
---@param server (string|string[])?
---@param ok fun(seconds: integer, micros: integer, server: string, info: table)?
---@param failed fun(code: integer, text: string)?
function sntp.sync(server, ok, failed)
  if type(server) == "table" then server = server[1] end
  if server ~= nil then server = check.string(1, "sync", server) end
  check.optional_callback(2, "sync", ok)
  check.optional_callback(3, "sync", failed)
  device.later(function()
    rtctime.set(host.time())
    local seconds, micros = host.time()
    if ok then ok(seconds, micros, server or SERVER, { offset_s = 0, offset_us = 0, stratum = 1, leap = 0 }) end
  end)
end

---@param seconds integer
function sntp.setoffset(seconds) offset = check.integer(1, "setoffset", seconds) end

---@return integer
function sntp.getoffset() return offset end

return device.seal("sntp", sntp)
