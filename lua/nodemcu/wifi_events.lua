-- What the station tells: by wifi.eventmon and wifi.sta.eventMonReg on the ESP8266, by wifi.sta.on on the ESP32.
--
-- A callback hears of the connection that there is already, once, in the loop after it was set; and again after each
-- wifi.sta.connect or wifi.sta.config, and whenever the network comes and goes.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local network = require("nodemcu.wifi_network")
local check = device.check

local events = {}

---@class nodemcu.wifi.eventmon
local monitor = {
  STA_CONNECTED = 0, STA_DISCONNECTED = 1, STA_AUTHMODE_CHANGE = 2, STA_GOT_IP = 3, STA_DHCP_TIMEOUT = 4,
  AP_STACONNECTED = 5, AP_STADISCONNECTED = 6, AP_PROBEREQRECVED = 7, WIFI_MODE_CHANGED = 8,
  reason = {
    UNSPECIFIED = 1, AUTH_EXPIRE = 2, AUTH_LEAVE = 3, ASSOC_EXPIRE = 4, ASSOC_TOOMANY = 5, NOT_AUTHED = 6,
    NOT_ASSOCED = 7, ASSOC_LEAVE = 8, ASSOC_NOT_AUTHED = 9, DISASSOC_PWRCAP_BAD = 10, DISASSOC_SUPCHAN_BAD = 11,
    IE_INVALID = 13, MIC_FAILURE = 14, ["4WAY_HANDSHAKE_TIMEOUT"] = 15, GROUP_KEY_UPDATE_TIMEOUT = 16,
    IE_IN_4WAY_DIFFERS = 17, GROUP_CIPHER_INVALID = 18, PAIRWISE_CIPHER_INVALID = 19, AKMP_INVALID = 20,
    UNSUPP_RSN_IE_VERSION = 21, INVALID_RSN_IE_CAP = 22, ["802_1X_AUTH_FAILED"] = 23, CIPHER_SUITE_REJECTED = 24,
    BEACON_TIMEOUT = 200, NO_AP_FOUND = 201, AUTH_FAIL = 202, ASSOC_FAIL = 203, HANDSHAKE_TIMEOUT = 204,
  },
}
events.monitor = monitor

-- The states of wifi.sta.status that these events lead to.
local IDLE, GOT_IP = 0, 5
-- wpa2, in the ESP32's numbering
local AUTH = 3

-- Callbacks by what they listen to; each has seen connections up to a number.
local registered, by_state, by_name
local connection, is_due, running

world.at_reset(function()
  registered, by_state, by_name = {}, {}, {}
  -- scripts for firmware that could do without it start no monitor
  connection, is_due, running = 1, false, true
end)

-- Runs the callbacks that have not heard of the connection, those of the link before those of the address.
local function announce()
  is_due = false
  if not network.up then return end
  local current = connection
  local function tell(it, ...)
    if it and it.seen ~= current and network.up then
      it.seen = current
      it.callback(...)
    end
  end
  local link = { SSID = network.ssid, BSSID = network.bssid, channel = network.channel }
  tell(registered[monitor.STA_CONNECTED], link)
  tell(by_name.connected, "connected", {
    ssid = network.ssid, bssid = network.bssid, channel = network.channel, auth = AUTH,
  })
  tell(registered[monitor.STA_GOT_IP], { IP = network.ip, netmask = network.netmask, gateway = network.gateway })
  tell(by_name.got_ip, "got_ip", { ip = network.ip, netmask = network.netmask, gw = network.gateway })
  if running then tell(by_state[GOT_IP], IDLE) end
end

local function announce_soon()
  if not is_due then
    is_due = true
    device.later(announce)
  end
end

-- The station connects anew, or tries to.
function events.connecting()
  connection = connection + 1
  announce_soon()
end

table.insert(network.watchers, function(up, reason)
  if up then return events.connecting() end
  device.later(function()
    local it = registered[monitor.STA_DISCONNECTED]
    if it then it.callback { SSID = network.ssid, BSSID = network.bssid, reason = reason } end
    it = by_name.disconnected
    if it then it.callback("disconnected", { ssid = network.ssid, bssid = network.bssid, reason = reason }) end
    it = running and by_state[IDLE]
    if it then it.callback(GOT_IP) end
  end)
end)

local function listener(callback)
  announce_soon()
  return { callback = callback }
end

---@param event integer one of the constants of this table
---@param callback fun(info: table)?
function monitor.register(event, callback)
  event = check.integer(1, "register", event, monitor.STA_CONNECTED, monitor.WIFI_MODE_CHANGED)
  callback = check.optional_callback(2, "register", callback)
  registered[event] = callback and listener(callback)
end

---@param event integer
function monitor.unregister(event)
  registered[check.integer(1, "unregister", event, monitor.STA_CONNECTED, monitor.WIFI_MODE_CHANGED)] = nil
end

-- wifi.sta.eventMonReg(state, callback(previous state) | "unreg")
function events.register_state(state, callback)
  state = check.integer(1, "eventMonReg", state, IDLE, GOT_IP)
  if callback == "unreg" then callback = nil end
  callback = check.optional_callback(2, "eventMonReg", callback)
  by_state[state] = callback and listener(callback)
end

function events.start_monitor()
  running = true
  announce_soon()
end

function events.stop_monitor(also_forget)
  running = false
  if also_forget ~= nil then by_state = {} end
end

local NAMES = {
  start = true, stop = true, connected = true, disconnected = true, authmode_changed = true, got_ip = true,
}

-- wifi.sta.on(event, callback(event, info) | nil)
function events.on(name, callback)
  if not NAMES[name] then
    device.raise(("bad argument #1 to 'on' (invalid option '%s')"):format(tostring(name)))
  end
  callback = check.optional_callback(2, "on", callback)
  by_name[name] = callback and listener(callback)
end

local function tell_name(name)
  device.later(function()
    local it = by_name[name]
    if it then it.callback(name, {}) end
  end)
end

function events.started() tell_name("start") end

function events.stopped() tell_name("stop") end

return events
