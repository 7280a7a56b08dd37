-- `--profile`: an mqtt module that is as strict, and as odd, as the firmware of one chip. It stands before the real
-- one: its clients are tables that check what they are given by that firmware's rules (`profile_esp8266`,
-- `profile_esp32`) and pass it on. Where the chip would lose a callback without a word, a warning names the line.

local device = require("nodemcu.device")

local profile = {}

-- The firmware's ways, by the name of the chip.
local CHIPS = { esp8266 = "nodemcu.profile_esp8266", esp32 = "nodemcu.profile_esp32" }

-- ---- For the chips ----

---The caller's arguments by place, as the C functions see them: with what is left out told from nil.
---@class nodemcu.profile.arguments
local Arguments = {}
Arguments.__index = Arguments

---@param name string of the function, for messages
function profile.arguments(name, ...)
  return setmetatable({ name = name, count = select("#", ...), ... }, Arguments)
end

function Arguments:type(n)
  return n > self.count and "no value" or type(self[n])
end

function Arguments:reject(n, text)
  device.raise(("bad argument #%d to '%s' (%s)"):format(n, self.name, text))
end

local function expect(self, n, expected, is_right)
  if not is_right then self:reject(n, ("%s expected, got %s"):format(expected, self:type(n))) end
  return self[n]
end

-- A number, or a string that is one.
function Arguments:is_number(n)
  return type(self[n]) == "number" or type(self[n]) == "string" and tonumber(self[n]) ~= nil
end

-- A string, or a number as one.
function Arguments:is_string(n)
  return type(self[n]) == "string" or type(self[n]) == "number"
end

function Arguments:is_function(n)
  return type(self[n]) == "function"
end

function Arguments:integer(n) return tonumber(expect(self, n, "number", self:is_number(n))) end

function Arguments:string(n) return expect(self, n, "string", self:is_string(n)) end

function Arguments:callback(n) return expect(self, n, "function", self:is_function(n)) end

---The place of the last function from `first` on, or nil.
function Arguments:last_function(first)
  for n = self.count, first, -1 do
    if self:is_function(n) then return n end
  end
end

local said = {}

---Says something about the line of the script that is running, once.
function profile.warn(text)
  text = device.where() .. text
  if said[text] then return end
  said[text] = true
  device.warn(text)
end

---A string that is no longer than the chip's field for it.
function profile.cut(value, length, what, chip)
  if #tostring(value) <= length then return value end
  profile.warn(("the %s cuts the %s to %d bytes"):format(chip, what, length))
  return tostring(value):sub(1, length)
end

---A user name or a password: the chips send no empty ones.
function profile.credential(value)
  if value ~= "" then return value end
end

-- ---- The module ----

---@param mqtt table the real module
---@param name "esp8266"|"esp32"
---@return table mqtt
function profile.strict(mqtt, name)
  local place = CHIPS[name]
  if not place then
    device.raise(("no such profile: %s (esp8266 or esp32 expected)"):format(tostring(name)))
  end
  local chip = require(place)

  local module = {}
  for key, value in pairs(mqtt) do
    if chip.has(key) then module[key] = value end
  end

  local Client = {}
  for key, method in pairs(chip.methods) do Client[key] = method end
  Client.__index = function(_, key)
    if Client[key] ~= nil then return Client[key] end
    if type(key) == "string" and key:sub(1, 1) ~= "_" then
      device.raise(("the %s's clients have no '%s'"):format(name, key))
    end
  end
  Client.__tostring = function() return "mqtt client of an " .. name end

  function module.Client(...)
    local client = setmetatable({ _slots = {} }, Client)
    client._native = mqtt.Client(chip.new(client, profile.arguments("Client", ...)))
    chip.listen(client)
    return client
  end

  return module
end

return profile
