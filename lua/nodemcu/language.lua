-- The device's Lua, where the interpreter's is newer: what Lua 5.1 had and later versions dropped, and files that are
-- found where a device would have them. `install` puts it into the globals.

-- Much of this is about globals that only some versions have, or replaces them.
-- luacheck: std max, ignore 122 121

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
    loadstring = function(text, name) return load(text, name or text) end,
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

-- ---- Numbers ----

-- From Lua 5.3 on "%d" refuses a number with a fraction. Before, the fraction was cut off.
local function lenient(format)
  local function whole(value)
    local number = type(value) == "string" and tonumber(value) or value
    if math.type(number) ~= "float" or number ~= number or math.abs(number) >= 2 ^ 63 then return value end
    return math.tointeger(number < 0 and math.ceil(number) or math.floor(number))
  end
  return function(text, ...)
    local count = select("#", ...)
    if count == 0 or type(text) ~= "string" then return format(text, ...) end
    local arguments, n = { ... }, 0
    for kind in text:gsub("%%%%", ""):gmatch("%%[-+ #0]*%d*%.?%d*(%a)") do
      n = n + 1
      if kind:match("[dioxXcu]") and arguments[n] ~= nil then arguments[n] = whole(arguments[n]) end
    end
    return format(text, unpack(arguments, 1, count))
  end
end

-- ---- Files ----

-- The folders that a name is looked for in: the file system of the device, the current one, that of the script.
local function folders()
  local list, seen = {}, {}
  for _, folder in ipairs { device.root or ".", ".", device.scripts or "." } do
    if not seen[folder] then
      seen[folder] = true
      list[#list + 1] = folder
    end
  end
  return list
end

local function is_there(path)
  local file = io.open(path, "rb")
  -- a folder can be opened, not read
  local readable = file and file:read(0) ~= nil or file and file:seek("end") == 0
  if file then file:close() end
  return readable
end

-- The places of a file, the likely ones first.
local function places(name)
  if name:match("^/FLASH/") then name = name:sub(8) end
  if name:match("^/") then return { name } end
  local list = {}
  for _, folder in ipairs(folders()) do
    list[#list + 1] = folder == "." and name or folder .. "/" .. name
  end
  return list
end

-- A chunk by the device's rules: NAME.lc is NAME.lua where it is not there, or is not what this Lua has compiled.
local function load_file(stock, name)
  local problem
  for _, place in ipairs(places(name)) do
    if is_there(place) then
      local chunk
      chunk, problem = stock(place)
      if chunk then return chunk end
      break
    end
  end
  local source = name:match("^(.*)%.lc$")
  if source then
    for _, place in ipairs(places(source .. ".lua")) do
      if is_there(place) then return stock(place) end
    end
  end
  if problem then return nil, problem end
  return stock(name)
end

local installed = false

-- Adds what is gone from the interpreter's own table of this name.
local function complete(name, globals)
  for key, f in pairs(GONE[name]) do
    if rawget(_G[name], key) == nil then globals[key] = f end
  end
end

---Puts the device's language into the globals.
function language.install()
  if installed then return end
  installed = true
  for name in pairs(GONE) do complete(name, _G[name]) end
  if math.type and not pcall(string.format, "%d", 0.5) then string.format = lenient(string.format) end

  local stock = loadfile
  local function load_by_name(name, ...)
    if type(name) ~= "string" then return stock(name, ...) end
    local rest, count = { ... }, select("#", ...)
    return load_file(function(place) return stock(place, unpack(rest, 1, count)) end, name)
  end
  local stock_dofile = dofile
  loadfile = load_by_name
  function dofile(name)
    if type(name) ~= "string" then return stock_dofile(name) end
    local chunk, problem = load_by_name(name)
    if not chunk then error(problem, 0) end
    return chunk()
  end
end

---Adds what is gone to an environment, whose `_G` it is, and leaves the globals alone. The methods of strings stay the
---interpreter's.
---@param env table
function language.extend(env)
  for name in pairs(GONE) do
    if name ~= "_G" then
      env[name] = {}
      for key, value in pairs(_G[name]) do env[name][key] = value end
    end
    complete(name, env[name])
  end
end

---Has `require` find the parts of a project: beside its files and beside the script.
function language.extend_path()
  local patterns = {}
  for _, folder in ipairs(folders()) do
    patterns[#patterns + 1] = folder .. "/?.lua"
    patterns[#patterns + 1] = folder .. "/?.lc"
  end
  package.path = table.concat(patterns, ";") .. ";" .. package.path
end

return language
