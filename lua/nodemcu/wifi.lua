-- `wifi`: a station that is connected, to a network that `sim.wifi` describes and takes down. Both generations of the
-- module: setmode and eventmon of the ESP8266, mode and sta.on of the ESP32. The parts: `wifi_station`, `wifi_events`,
-- `wifi_ap`.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local network = require("nodemcu.wifi_network")
local events = require("nodemcu.wifi_events")
local check = device.check

---@class nodemcu.wifi
local wifi = {
  NULLMODE = 0, STATION = 1, SOFTAP = 2, STATIONAP = 3,
  STA_IDLE = 0, STA_CONNECTING = 1, STA_WRONGPWD = 2, STA_APNOTFOUND = 3, STA_FAIL = 4, STA_GOTIP = 5,
  PHYMODE_B = 1, PHYMODE_G = 2, PHYMODE_N = 3,
  NONE_SLEEP = 0, LIGHT_SLEEP = 1, MODEM_SLEEP = 2,
  PS_NONE = 0, PS_MIN_MODEM = 1, PS_MAX_MODEM = 2,
  OPEN = 0, WEP = 1, WPA_PSK = 2, WPA2_PSK = 3, WPA_WPA2_PSK = 4,
  AUTH_OPEN = 0, AUTH_WPA_PSK = 2, AUTH_WPA2_PSK = 3, AUTH_WPA_WPA2_PSK = 4,
  COUNTRY_AUTO = 0, COUNTRY_MANUAL = 1,
  HT20 = 0, HT40_ABOVE = 1, HT40_BELOW = 2,
}

wifi.sta = require("nodemcu.wifi_station")
wifi.ap = require("nodemcu.wifi_ap")
wifi.eventmon = events.monitor

local mode, phymode, country

world.at_reset(function()
  mode, phymode = wifi.STATION, wifi.PHYMODE_N
  country = { country = "CN", start_ch = 1, end_ch = 13, policy = wifi.COUNTRY_AUTO }
end)

---@param value integer
---@return integer mode
function wifi.setmode(value)
  mode = check.integer(1, "setmode", value, wifi.NULLMODE, wifi.STATIONAP)
  return mode
end

---@return integer
function wifi.getmode() return mode end

-- The ESP32's name for it.
function wifi.mode(value)
  mode = check.integer(1, "mode", value, wifi.NULLMODE, wifi.STATIONAP)
  return mode
end

-- On the ESP32 the radio is off until it is started.
function wifi.start() events.started() end

function wifi.stop() events.stopped() end

---@return integer channel, integer secondary
function wifi.getchannel() return network.channel, wifi.HT20 end

---@return integer
function wifi.getphymode() return phymode end

function wifi.setphymode(value)
  phymode = check.integer(1, "setphymode", value, wifi.PHYMODE_B, wifi.PHYMODE_N)
  return phymode
end

---@return table
function wifi.getcountry() return country end

---@return boolean
function wifi.setcountry(value)
  for key in pairs(country) do
    if check.table(1, "setcountry", value)[key] ~= nil then country[key] = value[key] end
  end
  return true
end

-- The ESP32's name for it.
function wifi.country(value) return wifi.setcountry(value) end

function wifi.sleeptype(value) return value or wifi.NONE_SLEEP end

function wifi.setps(value) check.integer(1, "setps", value, wifi.PS_NONE, wifi.PS_MAX_MODEM) end

function wifi.getps() return wifi.PS_NONE end

function wifi.setmaxtxpower(value) check.integer(1, "setmaxtxpower", value, 0, 82) end

function wifi.nullmodesleep(value) return value ~= false end

---SmartConfig: tells the network that there is, as if a phone had sent it.
---@param kind integer|function
---@param callback fun(ssid: string, password: string)?
function wifi.startsmart(kind, callback)
  callback = type(kind) == "function" and kind or callback
  if check.optional_callback(2, "startsmart", callback) then
    device.later(function() callback(network.ssid, network.password) end)
  end
end

function wifi.stopsmart() end

-- The radio can't be switched off: the script only hears that it is.
function wifi.suspend(options)
  if options == nil then return 0 end
  local callback = check.table(1, "suspend", options).suspend_cb
  if callback then device.later(callback) end
end

function wifi.resume(callback)
  if check.optional_callback(1, "resume", callback) then device.later(callback) end
end

device.seal("wifi.sta", wifi.sta)
device.seal("wifi.ap", wifi.ap)
device.seal("wifi.eventmon", wifi.eventmon)
return device.seal("wifi", wifi)
