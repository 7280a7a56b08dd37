-- Each row of the table in the guide, under both profiles: where the two firmwares differ from each other.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local device = require("nodemcu.device")
local profile = require("nodemcu.profile")
local support = require("tests.spec.support")
require("nodemcu")

local CHIPS = { "esp8266", "esp32" }
local modules = {}
for _, chip in ipairs(CHIPS) do modules[chip] = profile.strict(mqtt, chip) end

local warnings, warn, clients, broker

before_each(function()
  warnings, clients = {}, {}
  warn = device.warn
  function device.warn(text) warnings[#warnings + 1] = text end
  broker = support.broker()
end)

after_each(function()
  device.warn = warn
  for _, client in ipairs(clients) do client:close() end
  support.finish()
end)

local function client_of(chip, id, ...)
  local client = modules[chip].Client(id or support.unique("strict"), 60, ...)
  clients[#clients + 1] = client
  return client
end

-- A client that is connected to the broker.
local function connected(chip, ...)
  local client = client_of(chip, ...)
  local up = false
  client:connect("127.0.0.1", broker.port, 0, function() up = true end)
  kit.eventually(function() return up end)
  return client
end

local function fails(pattern, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.are.equal("string", type(err))
  assert.matches(pattern, err)
end

-- A list that grows whenever one of these functions is called.
local function notes()
  local log = {}
  return log, function(name)
    return function(...) log[#log + 1] = { name, select("#", ...), ... } end
  end
end

local function names(log)
  local list = {}
  for n, entry in ipairs(log) do list[n] = entry[1] end
  return table.concat(list, " ")
end

-- Runs a test under both profiles: the functions by the name of the chip.
local function under(what, tests)
  for _, chip in ipairs(CHIPS) do
    it(("%s: %s"):format(chip, what), function() tests[chip](chip) end)
  end
end

local function same(test)
  return { esp8266 = test, esp32 = test }
end

describe("publish, subscribe and unsubscribe without a connection", function()
  under("raise or return false", {
    esp8266 = function(chip)
      local client = client_of(chip)
      fails("profile_spec%.lua:%d+: not connected$", function() client:publish("t", "x", 0, 0) end)
      fails("not connected$", function() client:subscribe("t", 0) end)
      fails("not connected$", function() client:unsubscribe("t") end)
    end,
    esp32 = function(chip)
      local client = client_of(chip)
      assert.is_false(client:publish("t", "x", 0, 0))
      assert.is_false(client:subscribe("t", 0))
      assert.is_false(client:unsubscribe("t"))
    end,
  })

  under("do so after close too", {
    esp8266 = function(chip)
      local client = connected(chip)
      assert.is_true(client:close())
      fails("not connected$", function() client:publish("t", "x", 0, 0) end)
      assert.is_false(client:close())
    end,
    esp32 = function(chip)
      local client = connected(chip)
      client:close()
      assert.is_false(client:publish("t", "x", 0, 0))
    end,
  })
end)

describe("publish", function()
  under("needs qos and retain, as numbers", same(function(chip)
    local client = connected(chip)
    fails("bad argument #3 to 'publish' %(number expected, got no value%)", function() client:publish("t", "x") end)
    fails("bad argument #3 to 'publish' %(number expected, got function%)", function()
      client:publish("t", "x", print)
    end)
    fails("bad argument #4 to 'publish' %(number expected, got no value%)", function() client:publish("t", "x", 0) end)
    fails("bad argument #4 to 'publish' %(number expected, got boolean%)", function()
      client:publish("t", "x", 0, true)
    end)
    fails("bad argument #3 to 'publish' %(number expected, got boolean%)", function()
      client:publish("t", "x", false, 0)
    end)
    assert.is_true(client:publish("t", "x", 1, 0))
    kit.eventually(function() return #broker:received() == 1 end)
  end))
end)

describe("connect while connected", function()
  under("raises, or drops the old link", {
    esp8266 = function(chip)
      local client = connected(chip)
      fails("already connected$", function() client:connect("127.0.0.1", broker.port, 0) end)
    end,
    esp32 = function(chip)
      local client = connected(chip)
      local log, note = notes()
      client:on("offline", note("offline"))
      client:connect("127.0.0.1", broker.port, 0, note("ok"))
      kit.eventually(function() return #log == 2 end)
      assert.are.equal("offline ok", names(log))
      assert.are.equal(2, broker:accepted())
    end,
  })
end)

describe("connect(host, port, 0, 1, fn)", function()
  under("takes the 1 for the place of a callback, or for autoreconnect", {
    esp8266 = function(chip)
      local log, note = notes()
      client_of(chip):connect("127.0.0.1", broker.port, 0, 1, note("fn"))
      kit.eventually(function() return broker:accepted() == 1 end)
      while mqtt.poll(0.05) > 0 do end -- luacheck: ignore 542
      assert.are.equal("", names(log))
      assert.matches("^.-profile_spec%.lua:%d+: the esp8266 takes #4 of connect", warnings[1])
      client_of(chip):connect("127.0.0.1", support.closed_port(), 0, 1, note("fn"))
      kit.eventually(function() return #log == 1 end)
      assert.are.equal(mqtt.CONN_FAIL_SERVER_NOT_FOUND, log[1][4])
    end,
    esp32 = function(chip)
      local client = client_of(chip, "again")
      local log, note = notes()
      client:on("connect", note("on"))
      client:connect("127.0.0.1", broker.port, 0, 1, note("ok"))
      kit.eventually(function() return #log == 2 end)
      broker:kill("again")
      kit.eventually(function() return #log == 3 end)
      assert.are.equal("ok on on", names(log))
      assert.are.same({}, warnings)
    end,
  })

  under("loses a second function on one of them", {
    esp8266 = function(chip)
      client_of(chip):connect("127.0.0.1", broker.port, 0, 1, print, print)
      assert.are.equal(2, #warnings)
      assert.matches("the esp8266 ignores the function at #6 of connect$", warnings[2])
    end,
    esp32 = function(chip)
      client_of(chip):connect("127.0.0.1", broker.port, 0, 1, function() end, function() end)
      assert.are.same({}, warnings)
    end,
  })
end)

describe("secure as a boolean", function()
  under("is a flag, or ends the reading of the arguments", {
    esp8266 = function(chip)
      local log, note = notes()
      client_of(chip):connect("127.0.0.1", broker.port, false, note("ok"), note("nok"))
      kit.eventually(function() return #log == 1 end)
      assert.are.equal("ok", names(log))
      assert.are.same({}, warnings)
    end,
    esp32 = function(chip)
      local log, note = notes()
      client_of(chip):connect("127.0.0.1", broker.port, false, note("ok"), note("nok"))
      kit.eventually(function() return broker:accepted() == 1 end)
      while mqtt.poll(0.05) > 0 do end -- luacheck: ignore 542
      assert.are.equal("", names(log))
      assert.are.equal(1, #warnings)
      assert.matches("^.-profile_spec%.lua:%d+: the esp32 stops reading the arguments of connect at #3 %(boolean%)",
        warnings[1])
    end,
  })
end)

describe("connect", function()
  under("returns nothing, or true", {
    esp8266 = function(chip)
      assert.are.equal(0, select("#", client_of(chip):connect("127.0.0.1", broker.port, 0)))
    end,
    esp32 = function(chip)
      assert.is_true(client_of(chip):connect("127.0.0.1", broker.port, 0))
    end,
  })

  under("knows hosts, no URIs", same(function(chip)
    fails("bad argument #1 to 'connect'", function() client_of(chip):connect("mqtt://localhost") end)
  end))
end)

describe("the functions given to connect", function()
  under("are those of the events and stay, or are for once and come before them", {
    esp8266 = function(chip)
      local client = client_of(chip)
      local log, note = notes()
      client:on("connect", note("on"))
      client:connect("127.0.0.1", broker.port, 0, note("ok"))
      kit.eventually(function() return #log == 1 end)
      client:close()
      client:connect("127.0.0.1", broker.port, 0)
      kit.eventually(function() return #log == 2 end)
      assert.are.equal("ok ok", names(log))
      client:close()
      client:on("connect", note("on"))
      client:connect("127.0.0.1", broker.port, 0)
      kit.eventually(function() return #log == 3 end)
      assert.are.equal("ok ok on", names(log))
    end,
    esp32 = function(chip)
      local client = client_of(chip)
      local log, note = notes()
      client:on("connect", note("on"))
      client:connect("127.0.0.1", broker.port, 0, note("ok"))
      kit.eventually(function() return #log == 2 end)
      client:close()
      client:connect("127.0.0.1", broker.port, 0)
      kit.eventually(function() return #log == 3 end)
      assert.are.equal("ok on on", names(log))
    end,
  })

  under("hear of a failure, with the client and the reason only", {
    esp8266 = function(chip)
      local log, note = notes()
      local client = client_of(chip)
      client:connect("127.0.0.1", support.closed_port(), 0, note("ok"), note("nok"))
      kit.eventually(function() return #log == 1 end)
      assert.are.same({ "nok", 2, client, -5 }, log[1])
      client:connect("127.0.0.1", support.closed_port(), 0)
      kit.eventually(function() return #log == 2 end)
      assert.are.equal("nok nok", names(log))
    end,
    esp32 = function(chip)
      local log, note = notes()
      local client = client_of(chip)
      client:connect("127.0.0.1", support.closed_port(), 0, note("ok"), note("nok"))
      kit.eventually(function() return #log == 1 end)
      assert.are.same({ "nok", 2, client, -6 }, log[1])
      broker:faults { connack = 5 }
      client:connect("127.0.0.1", broker.port, 0, note("ok"), note("nok"))
      kit.eventually(function() return #log == 2 end)
      assert.are.equal(-6, log[2][4])
    end,
  })
end)

describe("on(event, nil)", function()
  under("raises, or does nothing", {
    esp8266 = function(chip)
      local client = client_of(chip)
      fails("bad argument #2 to 'on' %(function expected, got nil%)", function() client:on("message", nil) end)
      fails("bad argument #2 to 'on' %(function expected, got no value%)", function() client:on("message") end)
    end,
    esp32 = function(chip)
      local client = client_of(chip)
      local log, note = notes()
      client:on("connect", note("connect"))
      client:on("connect", nil)
      client:connect("127.0.0.1", broker.port, 0)
      kit.eventually(function() return #log == 1 end)
    end,
  })
end)

describe("the events", function()
  under("are eight, or three", {
    esp8266 = function(chip)
      local client = client_of(chip)
      for _, event in ipairs(support.EVENTS) do client:on(event, print) end
      fails("method not supported$", function() client:on("nonsense", print) end)
    end,
    esp32 = function(chip)
      local client = client_of(chip)
      for _, event in ipairs { "connect", "message", "offline" } do client:on(event, print) end
      for _, event in ipairs { "connfail", "overflow", "puback", "suback", "unsuback", "nonsense" } do
        fails("bad argument #1 to 'on' %(invalid option '" .. event, function() client:on(event, print) end)
      end
    end,
  })

  under("carry what the chip passes, no more", same(function(chip)
    local client = connected(chip)
    local log, note = notes()
    client:on("message", note("message"))
    client:on("offline", note("offline"))
    client:subscribe("t/#", 1, note("suback"))
    kit.eventually(function() return #log == 1 end)
    client:publish("t/x", "data", 1, 0, note("puback"))
    kit.eventually(function() return #log == 3 end)
    client:unsubscribe("t/#", note("unsuback"))
    kit.eventually(function() return #log == 4 end)
    client:close()
    kit.eventually(function() return #log == 5 end)
    local by_name = {}
    for _, entry in ipairs(log) do by_name[entry[1]] = entry end
    assert.are.same({ "message", 3, client, "t/x", "data" }, by_name.message)
    for _, event in ipairs { "suback", "puback", "unsuback", "offline" } do
      assert.are.same({ event, 1, client }, by_name[event])
    end
  end))

  under("carry no data for an empty message", same(function(chip)
    local client = connected(chip)
    local log, note = notes()
    client:on("message", note("message"))
    client:subscribe("t", 0, note("suback"))
    kit.eventually(function() return #log == 1 end)
    broker:publish("t", "")
    kit.eventually(function() return #log == 2 end)
    assert.is_nil(log[2][5])
    assert.are.equal("t", log[2][4])
  end))
end)

describe("the function given to publish or subscribe", function()
  under("stays, or is for once", {
    esp8266 = function(chip)
      local client = connected(chip)
      local log, note = notes()
      client:publish("t", "1", 1, 0, note("puback"))
      kit.eventually(function() return #log == 1 end)
      client:publish("t", "2", 1, 0)
      client:publish("t", "3", 0, 0)
      kit.eventually(function() return #log == 3 end)
      client:subscribe("a", 0, note("suback"))
      kit.eventually(function() return #log == 4 end)
      client:subscribe({ b = 0, c = 1 })
      kit.eventually(function() return #log == 5 end)
      assert.are.equal("puback puback puback suback suback", names(log))
    end,
    esp32 = function(chip)
      local client = connected(chip)
      local log, note = notes()
      client:publish("t", "1", 1, 0, note("first"))
      client:publish("t", "2", 1, 0, note("second"))
      kit.eventually(function() return #broker:received() == 2 and client._native:pending() == 0 end)
      client:publish("t", "3", 1, 0)
      kit.eventually(function() return #broker:received() == 3 and client._native:pending() == 0 end)
      client:subscribe("a", 0, note("suback"))
      kit.eventually(function() return #log == 2 end)
      client:subscribe("b", 0)
      kit.eventually(function() return broker:subscriptions(broker:clients()[1]).b end)
      assert.are.equal("second suback", names(log))
    end,
  })

  under("is called for QoS 0 too, or only for what is acknowledged", {
    esp8266 = function(chip)
      local client = connected(chip)
      local log, note = notes()
      client:publish("t", "x", 0, 0, note("puback"))
      kit.eventually(function() return #log == 1 end)
      assert.are.same({}, warnings)
    end,
    esp32 = function(chip)
      local client = connected(chip)
      local log, note = notes()
      client:publish("t", "x", 0, 0, note("puback"))
      assert.matches("^.-profile_spec%.lua:%d+: the esp32 never calls back for QoS 0", warnings[1])
      client:publish("t", "x", 1, 0)
      kit.eventually(function() return #log == 1 end)
      assert.are.equal(2, #broker:received())
    end,
  })

  under("is lost behind a qos that a table of filters has already, or there is no table", {
    esp8266 = function(chip)
      local client = connected(chip)
      client:subscribe({ a = 0 }, 0, function() end)
      assert.matches("^.-profile_spec%.lua:%d+: the esp8266 ignores the function at #3 of subscribe$", warnings[1])
      fails("no topics found$", function() client:subscribe {} end)
    end,
    esp32 = function(chip)
      local client = connected(chip)
      fails("bad argument #1 to 'subscribe' %(string expected, got table%)", function() client:subscribe { a = 0 } end)
      fails("bad argument #1 to 'unsubscribe' %(string expected, got table%)", function()
        client:unsubscribe { a = 0 }
      end)
    end,
  })

  under("needs a qos before it", same(function(chip)
    local client = connected(chip)
    fails("bad argument #2 to 'subscribe' %(number expected, got function%)", function()
      client:subscribe("a", print)
    end)
  end))
end)

describe("the reasons", function()
  under("have names, or none", {
    esp8266 = function(chip)
      assert.are.equal(-5, modules[chip].CONN_FAIL_SERVER_NOT_FOUND)
      assert.are.equal(5, modules[chip].CONNACK_REFUSED_NOT_AUTHORIZED)
      assert.is_nil(modules[chip].CONN_FAIL_TLS)
    end,
    esp32 = function(chip)
      for name in pairs(modules[chip]) do assert.not_matches("^CONN", name) end
    end,
  })
end)

-- What a strict client sends as CONNECT, by a peer that speaks in bytes.
local function connect_packet(make)
  local peer = support.peer()
  local client = make()
  clients[#clients + 1] = client
  client:connect("127.0.0.1", peer.port, 0)
  local packet = peer:welcome()
  kit.eventually(function() return client._native:state() == "connected" end)
  return packet
end

-- Flags and keep-alive of a CONNECT, and what follows.
local function parts(packet)
  local start = packet:find("MQTT", 1, true) + 5
  return packet:byte(start), packet:byte(start + 1) * 256 + packet:byte(start + 2), packet:sub(start + 3)
end

describe("the will", function()
  local function flags(chip)
    return (parts(connect_packet(function()
      local client = client_of(chip, nil, nil)
      client:lwt("will", "gone", 1, 1)
      return client
    end)))
  end

  under("is sent with qos and retain, or without", {
    -- retain 0x20, qos 1 0x08, will 0x04
    esp8266 = function(chip) assert.are.equal(0x2C, flags(chip) % 64 - flags(chip) % 4) end,
    esp32 = function(chip) assert.are.equal(0x04, flags(chip) % 64 - flags(chip) % 4) end,
  })
end)

describe("cleansession", function()
  local function clean(chip, ...)
    local arguments, count = { ... }, select("#", ...)
    return parts(connect_packet(function() return client_of(chip, "id", unpack(arguments, 1, count)) end)) % 4 == 2
  end

  under("is 0 unless told, or 1", {
    esp8266 = function(chip)
      assert.is_false(clean(chip))
      assert.is_true(clean(chip, "user", "password", 1))
      assert.is_true(clean(chip, "user", "password", 5))
    end,
    esp32 = function(chip)
      assert.is_true(clean(chip))
      assert.is_false(clean(chip, "user", "password", 0))
      assert.is_false(clean(chip, nil, nil, 0))
    end,
  })
end)

describe("keepalive 0", function()
  local function keepalive(chip)
    return (select(2, parts(connect_packet(function()
      return modules[chip].Client("id", 0)
    end))))
  end

  under("becomes 60, or 120", {
    esp8266 = function(chip) assert.are.equal(60, keepalive(chip)) end,
    esp32 = function(chip) assert.are.equal(120, keepalive(chip)) end,
  })
end)

describe("a long message", function()
  local function receive(chip, payload, qos)
    local client = connected(chip)
    local log, note = notes()
    client:on("message", note("message"))
    if chip == "esp8266" then client:on("overflow", note("overflow")) end
    local subscribed = false
    client:subscribe("topic", 2, function() subscribed = true end)
    kit.eventually(function() return subscribed end)
    broker:publish("topic", payload, qos or 0)
    broker:publish("topic", "end")
    kit.eventually(function() return #log > 0 and log[#log][5] == "end" end)
    log[#log] = nil
    return log
  end

  under("overflows, or comes in pieces", {
    esp8266 = function(chip)
      local log = receive(chip, ("x"):rep(2000))
      assert.are.equal("overflow", names(log))
      assert.are.equal("topic", log[1][4])
      assert(#log[1][5] < 1024)
      assert.are.equal("message", names(receive(chip, ("x"):rep(1000))))
    end,
    esp32 = function(chip)
      local text = ("0123456789"):rep(300)
      for qos = 0, 1 do
        local log = receive(chip, text, qos)
        assert.are.equal("message message message", names(log))
        assert.are.same({ "topic", "", "" }, { log[1][4], log[2][4], log[3][4] })
        assert.are.equal(text, log[1][5] .. log[2][5] .. log[3][5])
        assert.are.equal(1024 - 3 - 2 - #"topic" - (qos > 0 and 2 or 0), #log[1][5])
        assert.are.equal(1024, #log[2][5])
      end
      assert.are.equal("message", names(receive(chip, ("x"):rep(1000))))
    end,
  })
end)

describe("long names", function()
  local long = ("x"):rep(200)

  local function fields(chip)
    local _, _, rest = parts(connect_packet(function()
      local client = modules[chip].Client(long, 60, long, long)
      client:lwt(long, long)
      return client
    end))
    local lengths = {}
    while #rest > 0 do
      local length = rest:byte(1) * 256 + rest:byte(2)
      lengths[#lengths + 1] = length
      rest = rest:sub(3 + length)
    end
    return lengths
  end

  under("are cut", {
    -- client id, will topic, will message, user name, password
    esp8266 = function(chip)
      assert.are.same({ 64, 200, 200, 64, 64 }, fields(chip))
      assert.are.equal(3, #warnings)
      assert.matches("^.-profile_spec%.lua:%d+: the esp8266 cuts the clientid to 64 bytes$", warnings[1])
    end,
    esp32 = function(chip)
      assert.are.same({ 32, 32, 128, 32, 65 }, fields(chip))
      assert.are.equal(5, #warnings)
    end,
  })
end)

describe("an empty user name and password", function()
  under("are not sent", same(function(chip)
    local flags = parts(connect_packet(function() return modules[chip].Client("id", 60, "", "") end))
    assert(flags < 64, flags)
  end))
end)

describe("the constructor", function()
  under("leaves everything out, or wants an id and a keep-alive", {
    esp8266 = function(chip)
      clients[#clients + 1] = modules[chip].Client()
      fails("no arguments by name", function() modules[chip].Client { clientid = "x" } end)
    end,
    esp32 = function(chip)
      fails("bad argument #1 to 'Client' %(string expected, got no value%)", function() modules[chip].Client() end)
      fails("bad argument #2 to 'Client' %(number expected, got no value%)", function() modules[chip].Client("x") end)
      fails("bad argument #1 to 'Client' %(string expected, got table%)", function()
        modules[chip].Client { clientid = "x" }
      end)
    end,
  })

  under("makes clients with the chip's methods only", same(function(chip)
    local client = client_of(chip)
    fails("the " .. chip .. "'s clients have no 'pending'", function() client:pending() end)
    assert.matches(chip, tostring(client))
  end))
end)

describe("configure", function()
  it("puts the strict module in the place of the global", function()
    local nodemcu = require("nodemcu")
    nodemcu.configure { profile = "esp32" }
    assert.is_nil(_G.mqtt.CONN_FAIL_DNS)
    assert.are.equal("function", type(_G.mqtt.run))
    assert.are.equal(mqtt, require("mqtt"))
    rawset(_G, "mqtt", mqtt)
    fails("no such profile: esp1", nodemcu.configure, { profile = "esp1" })
  end)
end)
