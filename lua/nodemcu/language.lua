-- The device's Lua, where the interpreter's is newer: what Lua 5.1 had and later versions dropped or made stricter.
-- `install` puts it into the globals.

-- Much of this is about functions that only some versions have, or replaces them.
-- luacheck: std max, ignore 122

local device = require("nodemcu.device")

local language = {}

-- ---- Functions that are gone ----

local unpack = rawget(_G, "unpack") or table.unpack

-- The upvalue that holds a function's globals, from Lua 5.2 on.
local function find_environment(f)
  for n = 1, 255 do
    local name = debug.getupvalue(f, n)
    if name == "_ENV" then return n end
    if not name then return nil end
  end
end

-- The function that a call of setfenv or getfenv means: itself, or a level of the stack, `above` the calls between.
local function meant(f, above, name)
  if type(f) == "function" then return f end
  local level = tonumber(f) or 1
  if level < 0 then error(("bad argument #1 to '%s' (level must be non-negative)"):format(name), 3) end
  local info = debug.getinfo(level + above, "f")
  if not info then error(("bad argument #1 to '%s' (invalid level)"):format(name), 3) end
  return info.func
end

local function setfenv(f, environment)
  if f == 0 then error("setfenv of the main program is not simulated", 2) end
  local target = meant(f, 2, "setfenv")
  local n = find_environment(target)
  if n then
    -- A variable of its own: the function's siblings keep the environment that they have.
    debug.upvaluejoin(target, n, function() return environment end, 1)
  elseif debug.getinfo(target, "S").what == "C" then
    error("'setfenv' cannot change environment of given object", 2)
  end
  return target
end

local function getfenv(f)
  if f == 0 then return _G end
  local target = meant(f, 2, "getfenv")
  local n = find_environment(target)
  if not n then return _G end
  return (select(2, debug.getupvalue(target, n)))
end

-- module(name, ...): the caller's globals become a table of this name.
local function module(name, ...)
  local it = package.loaded[name]
  if type(it) ~= "table" then
    it = _G
    for part in name:gmatch("[^.]+") do
      local inner = rawget(it, part)
      if inner == nil then
        inner = {}
        it[part] = inner
      elseif type(inner) ~= "table" then
        error(("name conflict for module '%s'"):format(name), 2)
      end
      it = inner
    end
    package.loaded[name] = it
  end
  if it._NAME == nil then
    it._M, it._NAME, it._PACKAGE = it, name, name:match("^(.*%.)[^.]*$") or ""
  end
  setfenv(2, it)
  for n = 1, select("#", ...) do (select(n, ...))(it) end
end

local function seeall(it)
  local meta = getmetatable(it) or {}
  meta.__index = _G
  setmetatable(it, meta)
end

local function frexp(x)
  if x == 0 or x ~= x or math.abs(x) == math.huge then return x, 0 end
  local exponent = 0
  local mantissa = math.abs(x)
  while mantissa >= 1 do mantissa, exponent = mantissa / 2, exponent + 1 end
  while mantissa < 0.5 do mantissa, exponent = mantissa * 2, exponent - 1 end
  return x < 0 and -mantissa or mantissa, exponent
end

-- By the name of the table that they stand in.
local GONE = {
  _G = {
    setfenv = setfenv,
    getfenv = getfenv,
    unpack = unpack,
    module = module,
  },
  math = {
    pow = function(x, y) return x ^ y end,
    mod = math.fmod,
    log10 = function(x) return math.log(x, 10) end,
    ldexp = function(x, exponent) return x * 2.0 ^ exponent end,
    frexp = frexp,
    sinh = function(x) return (math.exp(x) - math.exp(-x)) / 2 end,
    cosh = function(x) return (math.exp(x) + math.exp(-x)) / 2 end,
    tanh = function(x) return 1 - 2 / (math.exp(2 * x) + 1) end,
  },
  table = {
    getn = function(list) return #list end,
    maxn = function(list)
      local max = 0
      for key in pairs(list) do
        if type(key) == "number" and key > max then max = key end
      end
      return max
    end,
    foreach = function(list, f)
      for key, value in pairs(list) do
        local result = f(key, value)
        if result ~= nil then return result end
      end
    end,
    foreachi = function(list, f)
      for n = 1, #list do
        local result = f(n, list[n])
        if result ~= nil then return result end
      end
    end,
  },
  string = { gfind = string.gmatch },
  package = { seeall = seeall },
}

-- ---- Numbers and replacements ----

local math_type = math.type

-- The number without its fraction, an integer if it had one; other values as they are.
local function whole(value)
  if math_type(value) ~= "float" or value ~= value or math.abs(value) >= 2 ^ 63 then return value end
  return math.tointeger(value < 0 and math.ceil(value) or math.floor(value))
end

-- What a stock function returned, or its error, of the place where the script called it.
local function settle(name, ok, ...)
  if ok then return ... end
  device.raise(((...):gsub("'%?'", "'" .. name .. "'", 1)))
end

-- From Lua 5.3 on a number with a fraction is refused where a whole one is wanted. Before, the fraction was cut off:
-- here that is done to the arguments from `first` on.
local function cut_fractions(where, name, first)
  local stock = where[name]
  where[name] = function(...)
    local count = select("#", ...)
    for n = first, count do
      if math_type((select(n, ...))) == "float" then
        local arguments = { ... }
        for m = n, count do arguments[m] = whole(arguments[m]) end
        return settle(name, pcall(stock, unpack(arguments, 1, count)))
      end
    end
    return settle(name, pcall(stock, ...))
  end
end

-- By the name of the table that they stand in: the functions, and the first argument that may have a fraction.
local COUNTING = {
  string = { sub = 2, byte = 2, char = 1, rep = 2, find = 3, match = 3 },
  table = { concat = 3 },
  math = { random = 1 },
  os = { date = 2 },
}

local find, gsub, gmatch = string.find, string.gsub, string.gmatch

-- The same for "%d" and its like.
local function lenient_format(format)
  return function(text, ...)
    if type(text) ~= "string" or not find(text, "%%[-+ #0]*%d*%.?%d*[dioxXcu]") then
      return settle("format", pcall(format, text, ...))
    end
    local arguments, n = { ... }, 0
    for kind in gmatch(gsub(text, "%%%%", ""), "%%[-+ #0]*%d*%.?%d*(%a)") do
      n = n + 1
      if find(kind, "[dioxXcu]") then arguments[n] = whole(tonumber(arguments[n]) or arguments[n]) end
    end
    return settle("format", pcall(format, text, unpack(arguments, 1, select("#", ...))))
  end
end

-- From Lua 5.2 on a replacement may have nothing but a digit or another % behind a %. Before, any character stood for
-- itself.
local function lenient_gsub(text, pattern, replacement, ...)
  if type(replacement) ~= "string" then return gsub(text, pattern, replacement, ...) end
  if find(replacement, "%", 1, true) then
    replacement = gsub(replacement, "%%(.)", function(behind)
      if not find(behind, "[%d%%]") then return behind end
    end)
  end
  return settle("gsub", pcall(gsub, text, pattern, replacement, ...))
end

-- Makes the device's out of an environment that has the interpreter's own libraries, or copies of them.
local function adapt(env)
  for name, functions in pairs(GONE) do
    for key, f in pairs(functions) do
      if rawget(_G[name], key) == nil then env[name][key] = f end
    end
  end
  local text = env.string
  if not pcall(text.rep, "", 0.5) then
    text.format = lenient_format(text.format)
    for name, functions in pairs(COUNTING) do
      for key, first in pairs(functions) do cut_fractions(env[name], key, first) end
    end
  end
  if not pcall(text.gsub, "", "", "%.") then text.gsub = lenient_gsub end
end

local installed = false

---Puts the device's language into the globals.
function language.install()
  if installed then return end
  installed = true
  adapt(_G)
end

---Puts it into an environment whose `_G` it is, and leaves the globals alone. The methods of strings stay the
---interpreter's.
---@param env table
function language.extend(env)
  for _, name in ipairs { "math", "os", "package", "string", "table" } do
    env[name] = {}
    for key, value in pairs(_G[name]) do env[name][key] = value end
  end
  adapt(env)
end

return language
