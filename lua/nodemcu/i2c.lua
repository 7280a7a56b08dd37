-- `i2c`: a bus with the devices that `sim.i2c` puts on it. A device is a file of registers, or functions.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local check, sim = device.check, world.sim

---@class nodemcu.i2c
local i2c = {
  TRANSMITTER = 0, RECEIVER = 1,
  SLOW = 100000, FAST = 400000, FASTPLUS = 1000000,
  SW = 0, HW0 = 1, HW1 = 2,
}

---@class nodemcu.i2c.device
---@field write fun(bytes: string)? what the script wrote in one go
---@field read fun(count: integer): string what it reads

local devices ---@type table<integer, nodemcu.i2c.device>
local buses

world.at_reset(function() devices, buses = {}, {} end)

local function bus(id, name)
  local it = buses[check.integer(1, name, id)]
  if not it then device.raise(("bad argument #1 to '%s' (i2c.setup for bus %s expected first)"):format(name, id)) end
  return it
end

-- A transmission is over: the device gets it whole.
local function flush(it)
  if it.device and #it.written > 0 and it.device.write then it.device.write(table.concat(it.written)) end
  it.written = {}
end

---@return integer speed
function i2c.setup(id, sda, scl, speed)
  id = check.integer(1, "setup", id)
  check.integer(2, "setup", sda, 0, 39)
  check.integer(3, "setup", scl, 0, 39)
  buses[id] = { written = {} }
  return check.integer(4, "setup", speed or i2c.SLOW, 1)
end

function i2c.start(id)
  flush(bus(id, "start"))
end

function i2c.stop(id)
  local it = bus(id, "stop")
  flush(it)
  it.device = nil
end

---@return boolean acknowledged whether there is such a device
function i2c.address(id, address, direction)
  local it = bus(id, "address")
  address = check.integer(2, "address", address, 0, 127)
  check.integer(3, "address", direction, i2c.TRANSMITTER, i2c.RECEIVER)
  it.device = devices[address]
  return it.device ~= nil
end

---Writes bytes: strings, numbers, tables of numbers.
---@return integer count
function i2c.write(id, ...)
  local it = bus(id, "write")
  local count = 0
  local function add(byte, n)
    it.written[#it.written + 1] = string.char(check.integer(n, "write", byte, 0, 255))
    count = count + 1
  end
  for n = 1, select("#", ...) do
    local value = select(n, ...)
    if type(value) == "table" then
      for _, byte in ipairs(value) do add(byte, n + 1) end
    elseif type(value) == "string" then
      it.written[#it.written + 1] = value
      count = count + #value
    else
      add(value, n + 1)
    end
  end
  return it.device and count or 0
end

---@return string bytes; 0xFF where there is no device
function i2c.read(id, count)
  local it = bus(id, "read")
  count = check.integer(2, "read", count, 0, 65535)
  flush(it)
  local bytes = it.device and it.device.read and it.device.read(count) or ""
  return (bytes .. ("\255"):rep(count - #bytes)):sub(1, count)
end

-- A device with a pointer to its registers, which the first byte written sets: most sensors are like that.
local function registers(bytes)
  local pointer = 0
  return {
    write = function(data)
      pointer = data:byte()
      for n = 2, #data do
        bytes[pointer] = data:byte(n)
        pointer = pointer + 1
      end
    end,
    read = function(count)
      local result = {}
      for n = 1, count do
        result[n] = string.char(bytes[pointer] or 0)
        pointer = pointer + 1
      end
      return table.concat(result)
    end,
  }
end

---Puts a device on the bus: a string or a table of registers (from 0), or functions. nil takes it off.
---@param address integer 0..127
---@param it (string|table<integer, integer>|nodemcu.i2c.device)?
function sim.i2c(address, it)
  address = check.integer(1, "i2c", address, 0, 127)
  if type(it) == "string" then
    local bytes = {}
    for n = 1, #it do bytes[n - 1] = it:byte(n) end
    it = registers(bytes)
  elseif type(it) == "table" and not it.read and not it.write then
    it = registers(it)
  elseif it ~= nil then
    check.table(2, "i2c", it)
  end
  devices[address] = it
end

return device.seal("i2c", i2c)
