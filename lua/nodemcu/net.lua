-- `net`: names are resolved by the host. Sockets are not simulated: a device is an MQTT client here, no more.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local host = require("mqtt.host")
local check = device.check

---@class nodemcu.net
local net = { TCP = 1, UDP = 2, IF_WIFI_STA = 0, IF_WIFI_AP = 1 }

---@class nodemcu.net.dns
local dns = {}
net.dns = dns

local servers

world.at_reset(function() servers = { [0] = "208.67.222.222", [1] = "0.0.0.0" } end)

---Looks a name up: callback(socket, address), without an address where there is none.
---@param name string
---@param callback fun(socket: any, address: string?)
function dns.resolve(name, callback)
  name = check.string(1, "resolve", name)
  check.callback(2, "resolve", callback)
  host.resolve(name, function(_, address) callback(nil, address) end)
end

-- The host's servers are asked, whatever a script sets.
function dns.setdnsserver(address, index)
  index = index == nil and 0 or check.integer(2, "setdnsserver", index, 0, 1)
  servers[index] = check.string(1, "setdnsserver", address)
end

---@return string
function dns.getdnsserver(index)
  return servers[index == nil and 0 or check.integer(1, "getdnsserver", index, 0, 1)]
end

---@return table? addresses
function net.ifinfo(interface)
  local wifi = require("nodemcu.wifi")
  local part = check.integer(1, "ifinfo", interface, 0, 1) == net.IF_WIFI_AP and wifi.ap or wifi.sta
  local ip, netmask, gateway = part.getip()
  if not ip then return nil end
  return { ip = ip, netmask = netmask, gateway = gateway }
end

-- Where tls.cert was in older firmware.
net.cert = require("nodemcu.tls").cert

device.seal("net.dns", dns)
return device.seal("net", net)
