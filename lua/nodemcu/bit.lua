-- `bit`: operations on numbers of 32 bits, in arithmetic that all Lua versions have. Results are signed.

local device = require("nodemcu.device")
local check = device.check

---@class nodemcu.bit
local bit = {}

local MODULUS = 2 ^ 32
local floor = math.floor

local function unsigned(n, name, value)
  return floor(check.integer(n, name, value) % MODULUS)
end

local function signed(value)
  value = value % MODULUS
  return floor(value >= 2 ^ 31 and value - MODULUS or value)
end

-- Combines two numbers bit by bit: `keep` says by the sum of two bits whether the result has one.
local function combine(a, b, keep)
  local result, place = 0, 1
  while a > 0 or b > 0 do
    local x, y = a % 2, b % 2
    if keep[x + y] then result = result + place end
    a, b, place = (a - x) / 2, (b - y) / 2, place * 2
  end
  return result
end

local function folded(name, keep)
  return function(...)
    local result = unsigned(1, name, (...))
    for n = 2, select("#", ...) do result = combine(result, unsigned(n, name, (select(n, ...))), keep) end
    return signed(result)
  end
end

bit.band = folded("band", { [2] = true }) ---@type fun(...: integer): integer
bit.bor = folded("bor", { true, true }) ---@type fun(...: integer): integer
bit.bxor = folded("bxor", { true }) ---@type fun(...: integer): integer

---@param value integer
---@return integer
function bit.bnot(value)
  return signed(MODULUS - 1 - unsigned(1, "bnot", value))
end

---@param value integer
---@param shift integer
---@return integer
function bit.lshift(value, shift)
  shift = check.integer(2, "lshift", shift)
  if shift < 0 or shift > 31 then return 0 end
  return signed(unsigned(1, "lshift", value) * 2 ^ shift)
end

---Fills with zeros.
---@param value integer
---@param shift integer
---@return integer
function bit.rshift(value, shift)
  shift = check.integer(2, "rshift", shift)
  if shift < 0 or shift > 31 then return 0 end
  return signed(floor(unsigned(1, "rshift", value) / 2 ^ shift))
end

---Fills with the sign.
---@param value integer
---@param shift integer
---@return integer
function bit.arshift(value, shift)
  shift = math.min(31, math.max(0, check.integer(2, "arshift", shift)))
  return floor(signed(unsigned(1, "arshift", value)) / 2 ^ shift)
end

---The number with this bit only.
---@param position integer
---@return integer
function bit.bit(position)
  return signed(2 ^ check.integer(1, "bit", position, 0, 31))
end

---@param value integer
---@param position integer
---@return boolean
function bit.isset(value, position)
  return floor(unsigned(1, "isset", value) / 2 ^ check.integer(2, "isset", position, 0, 31)) % 2 == 1
end

---@param value integer
---@param position integer
---@return boolean
function bit.isclear(value, position)
  return floor(unsigned(1, "isclear", value) / 2 ^ check.integer(2, "isclear", position, 0, 31)) % 2 == 0
end

local function changed(name, to)
  return function(value, ...)
    value = unsigned(1, name, value)
    for n = 1, select("#", ...) do
      local place = 2 ^ check.integer(n + 1, name, (select(n, ...)), 0, 31)
      local is = floor(value / place) % 2
      value = value + (to - is) * place
    end
    return signed(value)
  end
end

bit.set = changed("set", 1) ---@type fun(value: integer, ...: integer): integer
bit.clear = changed("clear", 0) ---@type fun(value: integer, ...: integer): integer

-- LuaJIT has a module of this name; what it has beyond ours stays, for the modules that use it.
local own = rawget(_G, "bit")
if rawget(_G, "jit") and type(own) == "table" then
  for name, value in pairs(own) do
    if bit[name] == nil then bit[name] = value end
  end
end

return device.seal("bit", bit)
