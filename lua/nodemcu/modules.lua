-- The modules that a device has beside mqtt and tmr, each loaded when it is asked for.

local modules = {}

---The simulated ones, and those that are real here.
modules.NAMES = {
  "adc", "bit", "dht", "enduser_setup", "file", "gpio", "i2c", "net", "node", "pwm", "rtcmem", "rtctime", "sjson",
  "sntp", "tls", "uart", "wifi",
}

local OTHERS = {
  cjson = function() return require("nodemcu.sjson") end,
  -- each simulated module adds its own to it
  sim = function()
    for _, name in ipairs(modules.NAMES) do modules.find(name) end
    return require("nodemcu.sim").sim
  end,
}

local is_module = {}
for _, name in ipairs(modules.NAMES) do is_module[name] = true end

---Whether it is one of these.
---@param name string
---@return boolean
function modules.has(name)
  return is_module[name] or OTHERS[name] ~= nil
end

---A module, or what stands for one that is not simulated; nil where no device has one of that name.
---@param name string
---@return table?
function modules.find(name)
  if is_module[name] then return require("nodemcu." .. name) end
  if OTHERS[name] then return OTHERS[name]() end
  return require("nodemcu.absent")[name]
end

return modules
