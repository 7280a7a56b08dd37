-- `sim`: the world around the simulated device. Each simulated module adds the function of its name: sim.gpio, sim.adc
-- and so on set what a script will read, and answer what it has done.

local device = require("nodemcu.device")
local check = device.check

---@class nodemcu.sim
local sim = {}

local listeners, resets = {}, {}

---@alias nodemcu.sim.event
---| "gpio" # pin, level: a script has set an output
---| "pwm" # pin, duty, clock: a script has started, changed or stopped a signal
---| "uart" # id, data: a script has written
---| "restart" # a script has called node.restart
---| "dsleep" # microseconds: a script has gone to deep sleep

local EVENTS = { gpio = true, pwm = true, uart = true, restart = true, dsleep = true }

---Calls a function whenever a script does something to its outputs. nil: no longer.
---@param event nodemcu.sim.event
---@param callback fun(...)?
function sim.on(event, callback)
  if not EVENTS[event] then
    local text = "bad argument #1 to 'on' (gpio, pwm, uart, restart or dsleep expected, got %s)"
    device.raise(text:format(tostring(event)))
  end
  listeners[event] = check.optional_callback(2, "on", callback)
end

---Makes everything as it was when the device started: readings and pins. What scripts have registered
---with the modules is forgotten too.
function sim.reset()
  listeners = {}
  for _, reset in ipairs(resets) do reset() end
end

-- For the modules, not for scripts.

local world = { sim = sim }

-- Tells the listener of an event.
function world.tell(event, ...)
  if listeners[event] then listeners[event](...) end
end

-- Has `reset` called now, and whenever everything starts anew.
function world.at_reset(reset)
  resets[#resets + 1] = reset
  reset()
end

-- A reading: a value, or what a function returns now.
function world.now(reading, ...)
  if type(reading) == "function" then return reading(...) end
  return reading
end

return world
