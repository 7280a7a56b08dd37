-- What the specs of the strict profiles share: clients of both chips, the warnings, tests that run under both.

local assert = require("luassert")
local busted = require("busted")
local mqtt = require("mqtt")
local kit = require("mqtt.test")
local device = require("nodemcu.device")
local profile = require("nodemcu.profile")
local support = require("tests.spec.support")
require("nodemcu")

local CHIPS = { "esp8266", "esp32" }

local strict = { modules = {} }
for _, chip in ipairs(CHIPS) do strict.modules[chip] = profile.strict(mqtt, chip) end

local warn, clients, broker

-- For before_each: a list that the warnings go to, and a broker.
function strict.begin()
  local warnings = {}
  clients = {}
  warn = device.warn
  function device.warn(text) warnings[#warnings + 1] = text end
  broker = support.broker()
  return warnings, broker
end

-- For after_each.
function strict.finish()
  device.warn = warn
  for _, client in ipairs(clients) do client._native:close() end
  support.finish()
end

-- Has a client closed in the end.
function strict.keep(client)
  clients[#clients + 1] = client
  return client
end

function strict.client(chip, id, ...)
  return strict.keep(strict.modules[chip].Client(id or support.unique("strict"), 60, ...))
end

-- A client that is connected to the broker.
function strict.connected(chip, ...)
  local client = strict.client(chip, ...)
  local up = false
  client:connect("127.0.0.1", broker.port, 0, function() up = true end)
  kit.eventually(function() return up end)
  return client
end

function strict.fails(pattern, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.are.equal("string", type(err))
  assert.matches(pattern, err)
end

-- A list that grows whenever one of these functions is called.
function strict.notes()
  local log = {}
  return log, function(name)
    return function(...) log[#log + 1] = { name, select("#", ...), ... } end
  end
end

function strict.names(log)
  local list = {}
  for n, entry in ipairs(log) do list[n] = entry[1] end
  return table.concat(list, " ")
end

-- Runs a test under both profiles: the functions by the name of the chip, or one for both.
function strict.under(what, tests)
  for _, chip in ipairs(CHIPS) do
    local test = type(tests) == "table" and tests[chip] or tests
    busted.it(("%s: %s"):format(chip, what), function() test(chip) end)
  end
end

return strict
