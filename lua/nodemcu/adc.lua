-- `adc`: what `sim.adc` says, on every channel.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local check, sim = device.check, world.sim

---@class nodemcu.adc
local adc = {
  INIT_ADC = 0, INIT_VDD33 = 255,
  -- ESP32
  ADC1 = 1, ADC2 = 2,
  ATTEN_0db = 0, ATTEN_2_5db = 1, ATTEN_6db = 2, ATTEN_11db = 3,
}

-- Half of what the ESP8266 can read: as good as any value that nobody has set.
local ANY = 512
local MILLIVOLTS = 3300

local readings, supply

world.at_reset(function() readings, supply = {}, MILLIVOLTS end)

---What a channel reads: read(channel) on the ESP8266, read(unit, channel) on the ESP32.
---@param unit integer
---@param channel integer?
---@return integer
function adc.read(unit, channel)
  local first = check.integer(1, "read", unit, 0, 9)
  if channel == nil then channel = first else channel = check.integer(2, "read", channel, 0, 9) end
  local reading = world.now(readings[channel], channel)
  return reading == nil and ANY or reading
end

---The supply in millivolts.
---@return integer
function adc.readvdd33()
  return world.now(supply)
end

---Chooses what the ESP8266's only converter measures.
---@return boolean restart_needed never: no restart is needed here
function adc.force_init_mode(mode)
  check.integer(1, "force_init_mode", mode)
  return false
end

-- The ESP32 sets up its channels first.
function adc.setup(unit, channel)
  check.integer(1, "setup", unit, 1, 2)
  check.integer(2, "setup", channel, 0, 9)
end

function adc.setwidth(unit, bits)
  check.integer(1, "setwidth", unit, 1, 2)
  check.integer(2, "setwidth", bits, 9, 12)
end

---Sets what a channel reads from now on: a value, or a function that is asked each time.
---@param channel integer
---@param reading integer|fun(channel: integer): integer
function sim.adc(channel, reading)
  readings[check.integer(1, "adc", channel, 0, 9)] = reading
end

---Sets the supply voltage in millivolts, for adc.readvdd33 and node.readvdd33.
---@param millivolts integer|fun(): integer
function sim.vdd33(millivolts)
  supply = millivolts
end

return device.seal("adc", adc)
