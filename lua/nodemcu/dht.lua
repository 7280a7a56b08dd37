-- `dht`: what `sim.dht` says. A sensor that nobody has set reads 21.5 degrees and 60 %.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local check, sim = device.check, world.sim

---@class nodemcu.dht
local dht = { OK = 0, ERROR_CHECKSUM = -1, ERROR_TIMEOUT = -2 }

-- What a sensor that gives no answer reads.
local INVALID = -999

local sensors

world.at_reset(function() sensors = {} end)

-- The digits behind the point, as firmware without fractions wants them.
local function thousandths(value)
  local whole = value < 0 and math.ceil(value) or math.floor(value)
  return math.floor((value - whole) * 1000 + 0.5)
end

local function read(name)
  return function(pin)
    local sensor = sensors[check.integer(1, name, pin, 0, 39)] or { 21.5, 60 }
    local temperature, humidity, status
    if type(sensor[1]) == "function" then
      temperature, humidity, status = sensor[1](pin)
    else
      temperature, humidity, status = sensor[1], sensor[2], sensor[3]
    end
    status = status or dht.OK
    if status ~= dht.OK then temperature, humidity = INVALID, INVALID end
    return status, temperature, humidity, thousandths(temperature), thousandths(humidity)
  end
end

---Returns the status, temperature and humidity, and the thousandths of both.
---@alias nodemcu.dht.read fun(pin: integer): integer, number, number, integer, integer

dht.read = read("read") ---@type nodemcu.dht.read
dht.read11 = read("read11") ---@type nodemcu.dht.read
dht.readxx = read("readxx") ---@type nodemcu.dht.read
dht.read2x = read("read2x") ---@type nodemcu.dht.read

---Sets what the sensor at a pin reads from now on: values, or a function that returns them each time.
---@param pin integer
---@param temperature number|fun(pin: integer): number, number, integer?
---@param humidity number?
---@param status integer? dht.ERROR_TIMEOUT or dht.ERROR_CHECKSUM: the sensor fails
function sim.dht(pin, temperature, humidity, status)
  sensors[check.integer(1, "dht", pin, 0, 39)] = { temperature, humidity or 60, status }
end

return device.seal("dht", dht)
