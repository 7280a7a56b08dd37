-- `pwm`: signals that nobody sees but `sim.pwm` and a listener of `sim.on("pwm")`.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local check, sim = device.check, world.sim

---@class nodemcu.pwm
local pwm = {}

local signals

world.at_reset(function() signals = {} end)

local function signal(pin, name)
  local it = signals[check.integer(1, name, pin, 0, 39)]
  if not it then device.raise(("bad argument #1 to '%s' (pwm.setup for pin %s expected first)"):format(name, pin)) end
  return it
end

local function tell(pin, it)
  world.tell("pwm", pin, it.running and it.duty or 0, it.clock)
end

---@param pin integer
---@param clock integer 1..1000 Hz
---@param duty integer 0..1023
function pwm.setup(pin, clock, duty)
  pin = check.integer(1, "setup", pin, 0, 39)
  signals[pin] = {
    clock = check.integer(2, "setup", clock, 1, 1000),
    duty = check.integer(3, "setup", duty, 0, 1023),
    running = false,
  }
end

function pwm.start(pin)
  local it = signal(pin, "start")
  it.running = true
  tell(pin, it)
end

function pwm.stop(pin)
  local it = signal(pin, "stop")
  it.running = false
  tell(pin, it)
end

function pwm.close(pin)
  local it = signals[check.integer(1, "close", pin, 0, 39)]
  if not it then return end
  it.running = false
  tell(pin, it)
  signals[pin] = nil
end

---@return integer clock
function pwm.setclock(pin, clock)
  local it = signal(pin, "setclock")
  it.clock = check.integer(2, "setclock", clock, 1, 1000)
  if it.running then tell(pin, it) end
  return it.clock
end

---@return integer duty
function pwm.setduty(pin, duty)
  local it = signal(pin, "setduty")
  it.duty = check.integer(2, "setduty", duty, 0, 1023)
  if it.running then tell(pin, it) end
  return it.duty
end

---@return integer
function pwm.getclock(pin) return signal(pin, "getclock").clock end

---@return integer
function pwm.getduty(pin) return signal(pin, "getduty").duty end

---The signal at a pin.
---@param pin integer
---@return integer duty 0 when there is none or it is stopped
---@return integer? clock
function sim.pwm(pin)
  local it = signals[check.integer(1, "pwm", pin, 0, 39)]
  if not it then return 0 end
  return it.running and it.duty or 0, it.clock
end

return device.seal("pwm", pwm)
