-- Wrong values of every kind, and calls with them in every place, for the specs about bad input.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")

local unpack = rawget(_G, "unpack") or rawget(table, "unpack")

local function nop() end

local NAN, INF = 0 / 0, math.huge

-- ---- Wrong values by kind of argument: name -> value ----

local function merge(...)
  local all = {}
  for _, values in ipairs { ... } do
    for name, value in pairs(values) do all[name] = value end
  end
  return all
end

local function without(values, ...)
  local rest = merge(values)
  for _, name in ipairs { ... } do rest[name] = nil end
  return rest
end

local ODD = {
  ["a table"] = {},
  ["a table that raises"] = setmetatable({}, { __index = function() error("looked into", 0) end }),
  ["a thread"] = coroutine.create(nop),
  ["a file"] = io.stdout,
  ["a timer"] = tmr.create(),
  ["a client"] = mqtt.Client("odd"),
}
-- Those that serve where a table does: the second is looked into raw, and so it is an empty one.
local TABLES = { "a table", "a table that raises" }
local BOOLEANS = { ["true"] = true, ["false"] = false }
local CALLABLE = { ["a function"] = nop }
local NO_NUMBERS = { ["''"] = "", ["' '"] = " ", ["'x'"] = "x", ["'1x'"] = "1x", ["'\\0'"] = "\0", ["'--1'"] = "--1" }
local NO_INTEGERS = {
  ["NaN"] = NAN, ["-NaN"] = -NAN, ["infinity"] = INF, ["-infinity"] = -INF, ["0.5"] = 0.5, ["-1"] = -1,
  ["2^32"] = 2 ^ 32, ["2^53"] = 2 ^ 53, ["2^63"] = 2 ^ 63, ["-2^63"] = -2 ^ 63, ["2^64"] = 2 ^ 64, ["1e308"] = 1e308,
  ["'1e400'"] = "1e400", ["'-1'"] = "-1",
}
local NO_TEXT = { ["text with U+0000"] = "a\0b", ["no UTF-8"] = "\255\254", ["half a character"] = "a\195" }

local BYTES = merge(ODD, BOOLEANS, CALLABLE)
local TEXT = merge(BYTES, NO_TEXT)
local INTEGER = merge(ODD, BOOLEANS, CALLABLE, NO_NUMBERS, NO_INTEGERS)
local QOS = merge(INTEGER, { ["3"] = 3, ["'3'"] = "3" })
local FLAG = merge(ODD, CALLABLE, NO_NUMBERS, NO_INTEGERS, { ["2"] = 2, ["'2'"] = "2" })
local CALLBACK = merge(ODD, BOOLEANS, { ["0"] = 0, ["1"] = 1, ["''"] = "", ["'print'"] = "print", ["NaN"] = NAN })
local SECONDS = merge(ODD, BOOLEANS, CALLABLE, NO_NUMBERS)
local TOPIC = merge(TEXT, {
  ["''"] = "", ["#"] = "#", ["+"] = "+", ["a/#"] = "a/#", ["a/+/b"] = "a/+/b", ["a+"] = "a+",
  ["a surrogate"] = "\237\160\128", ["an overlong /"] = "\192\175", ["65,536 bytes"] = ("x"):rep(65536),
})
local FILTER = merge(TEXT, {
  ["''"] = "", ["a#"] = "a#", ["#/a"] = "#/a", ["a/#/b"] = "a/#/b", ["a+"] = "a+", ["+a/b"] = "+a/b", ["##"] = "##",
  ["$share/g"] = "$share/g", ["$share//a"] = "$share//a", ["$share/+/a"] = "$share/+/a",
  ["65,536 bytes"] = ("x"):rep(65536),
})
local PORT = merge(INTEGER, { ["0"] = 0, ["65536"] = 65536, ["'0'"] = "0" })
local HOST = merge(TEXT, {
  ["''"] = "", ["a:1"] = "a:1", ["mqtt://"] = "mqtt://", ["x://a"] = "x://a", ["mqtt://a:0"] = "mqtt://a:0",
})
local EVENT = merge(BYTES, { ["''"] = "", ["an unknown event"] = "messages", ["CONNECT"] = "CONNECT", ["0"] = 0 })
local INTERVAL = merge(INTEGER, { ["0"] = 0 })

local function sorted(values)
  local names = {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- Calls `f(self, ...)` (or without self) with each wrong value in each place; a list of what went wrong with that, and
-- how many calls there were.
local function torment(name, f, self, signature, shift)
  local base, places = signature[1], signature[2]
  local failed, calls = {}, 0
  for place = 1, #places do
    for _, what in ipairs(sorted(places[place])) do
      local arguments = { unpack(base, 1, #places) }
      arguments[place] = places[place][what]
      local ok, message
      if self ~= nil then
        ok, message = pcall(f, self, unpack(arguments, 1, #places))
      else
        ok, message = pcall(f, unpack(arguments, 1, #places))
      end
      calls = calls + 1
      local expected = ("bad argument #%d to '%s' ("):format(place + (shift or 0), name)
      if ok or type(message) ~= "string" or not message:find(expected, 1, true) then
        local _, said = pcall(tostring, message)
        failed[#failed + 1] = ("%s, #%d is %s: %s %s"):format(name, place, what, tostring(ok), said)
      end
    end
  end
  return failed, calls
end

local function check(set, owner, self)
  local calls = 0
  for _, name in ipairs(sorted(set)) do
    local failed, count = torment(name, owner[name], self, set[name])
    assert(#failed == 0, table.concat(failed, "\n"))
    calls = calls + count
  end
  return calls
end

-- Calls `call` with a table that has one of these wrong values under one of these keys, and nothing else.
local function all_fail(name, call, rows)
  for key, values in pairs(rows) do
    for what, value in pairs(values) do
      local ok, message = pcall(call, { [key] = value })
      assert(not ok, ("%s of %s is accepted as %s"):format(what, name, tostring(key)))
      assert(type(message) == "string", "the error is no string")
      assert(message:find(("to '%s' ("):format(name), 1, true), tostring(key) .. ": " .. message)
    end
  end
end

return {
  nop = nop, NAN = NAN, INF = INF, merge = merge, without = without, TABLES = TABLES, ODD = ODD, BOOLEANS = BOOLEANS,
  CALLABLE = CALLABLE, BYTES = BYTES, TEXT = TEXT, INTEGER = INTEGER, QOS = QOS,
  FLAG = FLAG, CALLBACK = CALLBACK, SECONDS = SECONDS, TOPIC = TOPIC, FILTER = FILTER, PORT = PORT, HOST = HOST,
  EVENT = EVENT, INTERVAL = INTERVAL, sorted = sorted, torment = torment, check = check, all_fail = all_fail,
}
