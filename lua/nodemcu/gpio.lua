-- `gpio`: pins that keep what a script writes and read what `sim.gpio` says. Both generations of the module.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local tmr = require("mqtt.tmr")
local check, sim = device.check, world.sim

---@class nodemcu.gpio
local gpio = {
  LOW = 0, HIGH = 1,
  -- ESP8266
  INPUT = 0, OUTPUT = 1, INT = 2, OPENDRAIN = 3,
  FLOAT = 0, PULLUP = 1,
  -- ESP32
  IN = 1, OUT = 2, IN_OUT = 3,
  FLOATING = 0, PULL_UP = 1, PULL_DOWN = 2, PULL_UP_DOWN = 3, PULLDOWN = 2,
  INTR_DISABLE = 0, INTR_UP = 1, INTR_DOWN = 2, INTR_UP_DOWN = 3, INTR_LOW = 4, INTR_HIGH = 5,
  DRIVE_0 = 0, DRIVE_1 = 1, DRIVE_2 = 2, DRIVE_DEFAULT = 2, DRIVE_3 = 3,
}

-- The highest pin of an ESP32; those of an ESP8266 are 0 to 12.
local LAST = 39

-- What the second argument of trig stands for, by name and by the number of the ESP32.
local EDGES = {
  up = { [1] = true }, down = { [0] = true }, both = { [0] = true, [1] = true },
  high = { [1] = true }, low = { [0] = true },
}
local BY_NUMBER = { "up", "down", "both", "low", "high" }

---@class nodemcu.pin
---@field driven integer? the level that the script drives
---@field drain boolean? it only drives low
---@field pull integer? the level while nobody drives
---@field outside integer? the level that the world drives
---@field edges table<integer, boolean>? levels whose arrival is told
---@field callback function?
---@field numbered boolean? the callback gets the pin and the level, as on the ESP32

local pins ---@type table<integer, nodemcu.pin>

world.at_reset(function() pins = {} end)

local function pin_of(pin)
  pins[pin] = pins[pin] or {}
  return pins[pin]
end

local function level_of(pin)
  local it = pin_of(pin)
  if it.driven == 1 and not it.drain or it.driven == 0 then return it.driven end
  return it.outside or it.pull or 0
end

-- Changes something about a pin and runs the script's callback if its level came to one that it waits for.
local function change(pin, f)
  local it, before = pin_of(pin), level_of(pin)
  f(it)
  local level = level_of(pin)
  if level == before or not (it.edges and it.edges[level] and it.callback) then return end
  local when = tmr.now()
  device.later(function()
    -- the script may have taken it away meanwhile
    if not it.callback then return end
    if it.numbered then it.callback(pin, level) else it.callback(level, when, 1) end
  end)
end

local function drive(pin, level)
  change(pin, function(it) it.driven = level end)
  world.tell("gpio", pin, level)
end

---Sets up a pin.
---@param pin integer
---@param mode integer
---@param pull integer?
function gpio.mode(pin, mode, pull)
  pin = check.integer(1, "mode", pin, 0, LAST)
  mode = check.integer(2, "mode", mode, gpio.INPUT, gpio.OPENDRAIN)
  pull = pull ~= nil and check.integer(3, "mode", pull) or gpio.FLOAT
  local it = pin_of(pin)
  it.drain = mode == gpio.OPENDRAIN
  it.pull = pull == gpio.PULLUP and 1 or nil
  if mode == gpio.INPUT or mode == gpio.INT then
    it.driven = nil
  else
    it.driven = it.driven or 0
  end
  if mode ~= gpio.INT then it.edges, it.callback = nil, nil end
end

---Sets up pins, the ESP32's way.
---@param ... { gpio: integer|integer[], dir: integer?, opendrain: integer|boolean?, pull: integer? }
function gpio.config(...)
  for n, options in ipairs { ... } do
    check.table(n, "config", options)
    local list = type(options.gpio) == "table" and options.gpio or { options.gpio }
    for _, pin in ipairs(list) do
      local it = pin_of(check.integer(n, "config", pin, 0, LAST))
      it.drain = options.opendrain == 1 or options.opendrain == true
      it.pull = (options.pull == gpio.PULL_UP or options.pull == gpio.PULL_UP_DOWN) and 1 or nil
      if options.dir == gpio.IN then
        it.driven = nil
      else
        it.driven = it.driven or 0
      end
    end
  end
end

---The level of a pin.
---@param pin integer
---@return 0|1
function gpio.read(pin)
  return level_of(check.integer(1, "read", pin, 0, LAST))
end

---Sets the level of an output.
---@param pin integer
---@param level 0|1
function gpio.write(pin, level)
  pin = check.integer(1, "write", pin, 0, LAST)
  drive(pin, check.integer(2, "write", level, 0, 1))
end

---Sets what runs when a pin changes; nothing with "none" or without a type.
---@param pin integer
---@param kind ("up"|"down"|"both"|"low"|"high"|"none"|integer)?
---@param callback function? the one before stays without it
function gpio.trig(pin, kind, callback)
  local it = pin_of(check.integer(1, "trig", pin, 0, LAST))
  check.optional_callback(3, "trig", callback)
  local name = type(kind) == "number" and BY_NUMBER[kind] or kind
  if kind == nil or kind == "none" or kind == gpio.INTR_DISABLE then
    it.edges, it.callback = nil, nil
    return
  end
  if not EDGES[name] then
    local text = "bad argument #2 to 'trig' (up, down, both, low, high or none expected, got %s)"
    device.raise(text:format(tostring(kind)))
  end
  it.edges = EDGES[name]
  it.callback = callback or it.callback
  it.numbered = type(kind) == "number"
end

---Puts out a sequence of levels: `start`, and the other one after each of the delays but the last.
---@param pin integer
---@param start 0|1
---@param delays integer[] microseconds
---@param cycles integer?
---@param callback (function|number)? returns at once, and runs this in the end
function gpio.serout(pin, start, delays, cycles, callback)
  pin = check.integer(1, "serout", pin, 0, LAST)
  local level = check.integer(2, "serout", start, 0, 1)
  check.table(3, "serout", delays)
  cycles = cycles == nil and 1 or check.integer(4, "serout", cycles, 1)
  local micros = 0
  for _ = 1, cycles do
    for _, delay in ipairs(delays) do
      drive(pin, level)
      level = 1 - level
      micros = micros + check.integer(3, "serout", delay, 0)
    end
  end
  if type(callback) == "function" then
    device.later(callback, math.floor(micros / 1000))
  end
end

-- Which pins wake an ESP32 from light sleep: it never sleeps here.
function gpio.wakeup(pin) check.integer(1, "wakeup", pin, 0, LAST) end

---@param pin integer
function gpio.set_drive(pin) check.integer(1, "set_drive", pin, 0, LAST) end

---Sets the level that the world drives a pin to, and fires what the script has set with gpio.trig. Without a level: the
---level that the pin has now.
---@param pin integer
---@param level (0|1|boolean)?
---@return 0|1 level
function sim.gpio(pin, level)
  pin = check.integer(1, "gpio", pin, 0, LAST)
  if level ~= nil then
    if type(level) == "boolean" then level = level and 1 or 0 end
    level = check.integer(2, "gpio", level, 0, 1)
    change(pin, function(it) it.outside = level end)
  end
  return level_of(pin)
end

return device.seal("gpio", gpio)
