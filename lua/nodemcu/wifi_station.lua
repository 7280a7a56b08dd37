-- `wifi.sta`: the station, which gets an address whatever it is configured to.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local network = require("nodemcu.wifi_network")
local events = require("nodemcu.wifi_events")
local check = device.check

---@class nodemcu.wifi.sta
local sta = {}

local IDLE, GOT_IP = 0, 5
local OPEN, WPA2 = 0, 3
-- The station left by itself.
local ASSOC_LEAVE = 8

local config, hostname

world.at_reset(function()
  config, hostname = {}, nil
end)

---Takes a table, or ssid, password, auto and bssid as the old firmware had it. The network is the one that the script
---asks for.
---@return boolean
function sta.config(settings, password, auto, bssid)
  if type(settings) == "table" then
    check.string(1, "config", settings.ssid)
    config = { ssid = settings.ssid, pwd = settings.pwd or "", bssid = settings.bssid, auto = settings.auto }
    for event, callback in pairs { connected_cb = "STA_CONNECTED", got_ip_cb = "STA_GOT_IP",
                                   disconnected_cb = "STA_DISCONNECTED" } do
      if settings[event] then events.monitor.register(events.monitor[callback], settings[event]) end
    end
  else
    config = { ssid = check.string(1, "config", settings), pwd = password and tostring(password) or "", bssid = bssid }
    if auto ~= nil then config.auto = auto == true or auto == 1 end
  end
  network.ssid, network.password = config.ssid, config.pwd
  if config.auto ~= false and network.up then events.connecting() end
  return true
end

---@return string|table? ssid, string? password, integer? bssid_set, string? bssid
function sta.getconfig(as_table)
  if as_table then
    return { ssid = network.ssid, pwd = network.password, bssid = config.bssid, bssid_set = config.bssid ~= nil }
  end
  return network.ssid, network.password, config.bssid and 1 or 0, config.bssid or network.bssid
end

sta.getdefaultconfig = sta.getconfig

---@return boolean
function sta.clearconfig()
  config = {}
  return true
end

function sta.connect(callback)
  if check.optional_callback(1, "connect", callback) then
    events.monitor.register(events.monitor.STA_CONNECTED, callback)
  end
  if network.up then events.connecting() else network.switch(true) end
end

function sta.disconnect(callback)
  if check.optional_callback(1, "disconnect", callback) then
    events.monitor.register(events.monitor.STA_DISCONNECTED, callback)
  end
  network.switch(false, ASSOC_LEAVE)
end

-- It connects by itself in any case.
function sta.autoconnect(on) check.integer(1, "autoconnect", on == true and 1 or on or 0, 0, 1) end

---@return integer 5: connected, with an address
function sta.status()
  return network.up and GOT_IP or IDLE
end

---@return string? ip, string? netmask, string? gateway
function sta.getip()
  if not network.up then return nil end
  return network.ip, network.netmask, network.gateway
end

---@return boolean
function sta.setip(settings)
  check.table(1, "setip", settings)
  network.ip = settings.ip or network.ip
  network.netmask = settings.netmask or network.netmask
  network.gateway = settings.gateway or network.gateway
  return true
end

---@return string?
function sta.getbroadcast()
  if not network.up then return nil end
  return (network.ip:gsub("%d+$", "255"))
end

---@return string
function sta.getmac()
  return network.mac or network.address("5c:cf:7f")
end

---@return boolean
function sta.setmac(mac)
  network.mac = check.string(1, "setmac", mac):lower():gsub("-", ":")
  return true
end

---@return integer? decibels
function sta.getrssi()
  return network.up and network.rssi or nil
end

---@return string
function sta.gethostname()
  return hostname or network.hostname()
end

---@return boolean
function sta.sethostname(name)
  name = check.string(1, "sethostname", name)
  local is_legal = #name <= 32 and name:match("^%w[%w-]*$") and not name:match("%-$")
  if is_legal then hostname = name end
  return is_legal and true or false
end

local function access_points()
  local list = {}
  if network.up then
    list[1] = {
      ssid = network.ssid, bssid = network.bssid, rssi = network.rssi, channel = network.channel,
      auth = network.password == "" and OPEN or WPA2,
    }
  end
  for _, ap in ipairs(network.aps or {}) do list[#list + 1] = ap end
  return list
end

---Scans: getap([options,] [format,] callback(table)). Format 0: ssid -> "auth,rssi,bssid,channel"; format 1: bssid ->
---"ssid,rssi,auth,channel".
function sta.getap(...)
  local options, format, callback
  for n = 1, select("#", ...) do
    local value = select(n, ...)
    if type(value) == "table" then
      options = value
    elseif type(value) == "function" then
      callback = value
    elseif value ~= nil then
      format = check.integer(n, "getap", value, 0, 1)
    end
  end
  check.callback(select("#", ...), "getap", callback)
  device.later(function()
    local found = {}
    for _, ap in ipairs(access_points()) do
      if not (options and options.ssid) or options.ssid == ap.ssid then
        local auth, rssi, channel = ap.auth or WPA2, ap.rssi or -70, ap.channel or 1
        if format == 1 then
          found[ap.bssid] = ("%s,%d,%d,%d"):format(ap.ssid, rssi, auth, channel)
        else
          found[ap.ssid] = ("%d,%d,%s,%d"):format(auth, rssi, ap.bssid, channel)
        end
      end
    end
    callback(found)
  end)
end

---Scans, the ESP32's way: callback(err, list).
function sta.scan(options, callback)
  check.table(1, "scan", options)
  check.callback(2, "scan", callback)
  device.later(function()
    local found = {}
    for _, ap in ipairs(access_points()) do
      if not options.ssid or options.ssid == ap.ssid then
        found[#found + 1] = {
          ssid = ap.ssid, bssid = ap.bssid, channel = ap.channel or 1, rssi = ap.rssi or -70, auth = ap.auth or WPA2,
          bandwidth = 0,
        }
      end
    end
    callback(nil, found)
  end)
end

-- One access point is known, the one of the configuration.
function sta.getapindex() return 1 end

function sta.setaplimit(limit)
  check.integer(1, "setaplimit", limit, 1, 5)
  return true
end

---@return table
function sta.getapinfo()
  return { qty = 1, [1] = { ssid = network.ssid, pwd = network.password, bssid = config.bssid or network.bssid } }
end

function sta.changeap(index)
  return check.integer(1, "changeap", index, 1, 5) == 1
end

function sta.sleeptype(kind) return kind or 0 end

function sta.eventMonReg(state, callback) events.register_state(state, callback) end

function sta.eventMonStart(interval)
  if interval ~= nil then check.integer(1, "eventMonStart", interval) end
  events.start_monitor()
end

function sta.eventMonStop(also_forget) events.stop_monitor(also_forget) end

function sta.on(event, callback) events.on(event, callback) end

return sta
