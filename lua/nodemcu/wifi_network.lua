-- The network that the station of `wifi` is connected to, and what `sim.wifi` may say of it.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")

---@class nodemcu.network
---@field up boolean there is the network, and the station wants it
---@field ssid string
---@field password string
---@field bssid string
---@field channel integer
---@field rssi integer
---@field ip string
---@field netmask string
---@field gateway string
---@field mac string? of the station; made of the chip's id otherwise
---@field aps table[]? what a scan finds besides: tables with ssid, bssid, rssi, channel, auth
local network = {}

-- Called when the network, or the station's wish for it, has come or gone: f(is_up, reason).
network.watchers = {}

local DEFAULT = {
  up = true,
  ssid = "desk", password = "12345678", bssid = "02:00:00:00:00:01", channel = 6, rssi = -55,
  ip = "192.168.1.77", netmask = "255.255.255.0", gateway = "192.168.1.1",
}

-- The access point is gone: NO_AP_FOUND.
local NOT_FOUND = 201

world.at_reset(function()
  network.mac, network.aps = nil, nil
  for key, value in pairs(DEFAULT) do network[key] = value end
end)

-- Changes whether the station is connected.
function network.switch(up, reason)
  if network.up == up then return end
  network.up = up
  for _, watch in ipairs(network.watchers) do watch(up, reason) end
end

-- The chip's id, which makes names and addresses.
local function chip()
  return require("nodemcu.node").chipid() % 2 ^ 24
end

-- A hardware address with the chip's id at its end, as those of the ESP8266 have it.
function network.address(prefix)
  local id = chip()
  local bytes = { math.floor(id / 2 ^ 16), math.floor(id / 2 ^ 8) % 256, math.floor(id % 256) }
  return ("%s:%02x:%02x:%02x"):format(prefix, bytes[1], bytes[2], bytes[3])
end

function network.hostname()
  return ("NODE-%06X"):format(math.floor(chip()))
end

local FIELDS = { mac = true, aps = true }
for key in pairs(DEFAULT) do FIELDS[key] = true end

---Changes the network: true or false brings it up or takes it down, a table sets what it names.
---@param change boolean|nodemcu.network
function world.sim.wifi(change)
  if type(change) == "boolean" then change = { up = change } end
  for key, value in pairs(device.check.table(1, "wifi", change)) do
    if not FIELDS[key] then
      device.raise(("bad argument #1 to 'wifi' (no field of this name: %s)"):format(tostring(key)))
    end
    if key ~= "up" then network[key] = value end
  end
  if change.up ~= nil then network.switch(change.up, NOT_FOUND) end
end

return network
