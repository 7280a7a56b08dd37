-- The globals of a NodeMCU device on a stock interpreter: after `require("nodemcu")` its modules are there as on the
-- device. mqtt, tmr, sjson and the files are real; pins and sensors are simulated, see `sim`. The runner does the same
-- by itself.

local device = require("nodemcu.device")
local modules = require("nodemcu.modules")
local language = require("nodemcu.language")
local loading = require("nodemcu.loading")

---@class nodemcu
local nodemcu = {}

local mqtt = require("nodemcu.mqtt")
local stop = mqtt.stop

-- Without the runner nobody could start the script again: its loop ends.
if not device.power then
  function device.power(kind)
    local runner = kind == "dsleep" and "mqtt-lua --awake" or "mqtt-lua"
    device.warn(("node.%s: the loop ends here; %s would start the script again"):format(kind, runner))
    stop()
  end
end

-- What stands behind the globals.
local rom = {}

local function install()
  nodemcu.mqtt = mqtt
  require("nodemcu.watchdog")
  nodemcu.tmr = device.seal("tmr", require("mqtt.tmr"))
  for _, name in ipairs(modules.NAMES) do nodemcu[name] = modules.find(name) end
  nodemcu.cjson, nodemcu.sim = modules.find("cjson"), modules.find("sim")

  for name, module in pairs(require("nodemcu.absent")) do
    -- a global that somebody else has put there is not ours to hide
    if rawget(_G, name) == nil then rom[name] = module end
  end
  for name, module in pairs(nodemcu) do
    if type(module) == "table" then rom[name] = module end
  end
  for name, module in pairs(rom) do _G[name] = module end
  -- On a device the modules stand behind the globals: a script that sets one to nil, to save memory, can use it again.
  if getmetatable(_G) == nil then setmetatable(_G, { __index = rom }) end

  _G.print = require("nodemcu.node_console").print
  language.install()
  loading.install(rom)
end

---@class nodemcu.settings
---@field root string? the folder that `file` is confined to (default: the current one)
---@field chipid integer? what node.chipid() is
---@field profile ("esp8266"|"esp32")? have mqtt behave as on this chip, where that differs from its manual

---Changes what the device is, best before the script runs.
---@param settings nodemcu.settings
---@return nodemcu
function nodemcu.configure(settings)
  for name in pairs(device.check.table(1, "configure", settings)) do
    if name ~= "root" and name ~= "chipid" and name ~= "profile" then
      device.raise(("bad argument #1 to 'configure' (root, chipid or profile expected, got %s)"):format(tostring(name)))
    end
  end
  if settings.root then
    require("mqtt.file").root(settings.root)
    device.root = settings.root
  end
  if settings.chipid then device.chipid = device.check.integer(1, "configure", settings.chipid, 0, 2 ^ 32 - 1) end
  if settings.profile then
    rom.mqtt = require("nodemcu.profile").strict(mqtt, settings.profile)
    _G.mqtt = rom.mqtt
  end
  return nodemcu
end

---Moves the clock that a test has started (`require("mqtt.test").clock()`) on by so many milliseconds, and runs what is
---due on the way.
---@param ms number
function nodemcu.advanceTime(ms)
  local clock = require("mqtt.test.clock").current()
  if not clock then
    device.raise('advanceTime moves the clock of a test: call require("mqtt.test").clock() first')
  end
  clock:advance(device.check.integer(1, "advanceTime", ms, 0))
end

install()
return nodemcu
