-- What all simulated modules of a device share: its settings, names that say that they are missing, checked arguments,
-- callbacks that come later.

local tmr = require("mqtt.tmr")

---@class nodemcu.device
---@field chipid integer? the id of the chip, or nil: made of the machine's name
---@field root string the folder that `file` is confined to
---@field scripts string? the folder of the script that runs, where its parts are found too
---@field boot { [1]: integer, [2]: integer } raw boot code and reset cause
---@field retained table what outlives a restart
---@field power fun(kind: "restart"|"dsleep", us: number?) ends this boot
---@field warn fun(text: string) tells the user something
local device = {
  root = ".",
  boot = { 1, 0 },
  retained = {},
}

function device.warn(text)
  io.stderr:write(text, "\n")
end

---Runs a function in the event loop, soon.
---@param f fun()
---@param ms integer? default 1
---@return table timer
function device.later(f, ms)
  local timer = tmr.create()
  timer:alarm(math.max(1, ms or 1), tmr.ALARM_SINGLE, function() f() end)
  return timer
end

-- ---- Errors, raised where the script made the call ----

-- The names of our files, nodemcu.lua and those beside this one, begin so, from a folder or from the runner.
local OURS = debug.getinfo(1, "S").source:match("^(.*nodemcu)/device%.lua")

---File and line of the script that is running, or an empty string.
---@return string
function device.where()
  for level = 2, 100 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if info.currentline > 0 and info.source:sub(1, #OURS) ~= OURS then
      return ("%s:%d: "):format(info.short_src, info.currentline)
    end
  end
  return ""
end

---@param text string
function device.raise(text)
  error(device.where() .. text, 0)
end

-- ---- Names that are missing ----

-- Stands for a function, or for a table of functions, that the device has and the simulation has not.
local function stub(name)
  return setmetatable({}, {
    __index = function(_, key)
      if type(key) == "string" then return stub(name .. "." .. key) end
    end,
    __call = function() device.raise(name .. " is not simulated") end,
    __tostring = function() return name .. " (not simulated)" end,
  })
end

---Makes every missing name of a module raise an error that says so: a function when it is called, a constant (in
---capitals) when it is read. A script can ask whether there is a function without harm.
---@generic T: table
---@param name string
---@param module T
---@return T
function device.seal(name, module)
  return setmetatable(module, {
    __index = function(_, key)
      if type(key) ~= "string" then return nil end
      local full = name .. "." .. key
      if key:match("^%u[%u%d_]+$") then device.raise(full .. " is not simulated") end
      return stub(full)
    end,
  })
end

-- ---- Arguments ----

local check = {}
device.check = check

local function fail(n, name, expected, got)
  device.raise(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, name, expected, got))
end

---A whole number, also as a string.
---@param n integer which argument
---@param name string of the function
---@param value any
---@param min integer?
---@param max integer?
---@return integer
function check.integer(n, name, value, min, max)
  local number = tonumber(value)
  if type(value) == "boolean" or not number or number ~= number or math.abs(number) == math.huge then
    fail(n, name, "number", type(value))
  end
  -- as the devices do
  number = number < 0 and math.ceil(number) or math.floor(number)
  if min and number < min or max and number > max then
    fail(n, name, max and ("%.0f..%.0f"):format(min, max) or ("%.0f or more"):format(min), tostring(value))
  end
  return number
end

---A string, or a number as one.
---@param n integer
---@param name string
---@param value any
---@return string
function check.string(n, name, value)
  if type(value) ~= "string" and type(value) ~= "number" then fail(n, name, "string", type(value)) end
  return tostring(value)
end

---A function.
---@param n integer
---@param name string
---@param value any
---@return function
function check.callback(n, name, value)
  if type(value) ~= "function" then fail(n, name, "function", type(value)) end
  return value
end

---A function or nil.
---@param n integer
---@param name string
---@param value any
---@return function?
function check.optional_callback(n, name, value)
  if value ~= nil and type(value) ~= "function" then fail(n, name, "function or nil", type(value)) end
  return value
end

---A table.
---@param n integer
---@param name string
---@param value any
---@return table
function check.table(n, name, value)
  if type(value) ~= "table" then fail(n, name, "table", type(value)) end
  return value
end

return device
