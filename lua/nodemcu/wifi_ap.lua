-- `wifi.ap`: an access point that is set up and that nobody joins.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local network = require("nodemcu.wifi_network")
local check = device.check

---@class nodemcu.wifi.ap
local ap = { dhcp = {} }

local settings, address, mac

world.at_reset(function()
  settings = nil
  address = { ip = "192.168.4.1", netmask = "255.255.255.0", gateway = "192.168.4.1" }
  mac = nil
end)

---@return boolean
function ap.config(options)
  check.string(1, "config", check.table(1, "config", options).ssid)
  settings = options
  return true
end

---@return string|table? ssid, string? password
function ap.getconfig(as_table)
  local ssid = settings and settings.ssid or network.hostname()
  local password = settings and settings.pwd
  if as_table then return { ssid = ssid, pwd = password, channel = network.channel, max = 4 } end
  return ssid, password
end

ap.getdefaultconfig = ap.getconfig

---@return string ip, string netmask, string gateway
function ap.getip() return address.ip, address.netmask, address.gateway end

---@return boolean
function ap.setip(options)
  for key in pairs(address) do
    address[key] = check.table(1, "setip", options)[key] or address[key]
  end
  return true
end

---@return string
function ap.getbroadcast() return (address.ip:gsub("%d+$", "255")) end

---@return string
function ap.getmac() return mac or network.address("5e:cf:7f") end

---@return boolean
function ap.setmac(value)
  mac = check.string(1, "setmac", value)
  return true
end

---@return table mac -> ip: nobody
function ap.getclient() return {} end

function ap.deauth() end

-- The ESP32's events: none ever comes.
function ap.on(event, callback)
  check.string(1, "on", event)
  check.optional_callback(2, "on", callback)
end

---@return boolean
function ap.sethostname(name)
  check.string(1, "sethostname", name)
  return true
end

---@return string first, string last
function ap.dhcp.config(options)
  local first = check.string(1, "config", check.table(1, "config", options).start)
  return first, (first:gsub("%d+$", function(digits) return tostring(math.floor(tonumber(digits) + 3)) end))
end

---@return boolean
function ap.dhcp.start() return true end

---@return boolean
function ap.dhcp.stop() return true end

device.seal("wifi.ap.dhcp", ap.dhcp)
return ap
