-- The rows of the table in the guide, under both profiles: how the two firmwares take their arguments and call back.
-- What goes over the wire stands in profile_wire_spec.lua.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local strict = require("tests.spec.device.strict")
local support = require("tests.spec.support")

local warnings, broker

before_each(function() warnings, broker = strict.begin() end)
after_each(strict.finish)

describe("publish, subscribe and unsubscribe without a connection", function()
  strict.under("raise or return false", {
    esp8266 = function(chip)
      local client = strict.client(chip)
      strict.fails("profile_spec%.lua:%d+: not connected$", function() client:publish("t", "x", 0, 0) end)
      strict.fails("not connected$", function() client:subscribe("t", 0) end)
      strict.fails("not connected$", function() client:unsubscribe("t") end)
    end,
    esp32 = function(chip)
      local client = strict.client(chip)
      assert.is_false(client:publish("t", "x", 0, 0))
      assert.is_false(client:subscribe("t", 0))
      assert.is_false(client:unsubscribe("t"))
    end,
  })

  strict.under("do so after close too", {
    esp8266 = function(chip)
      local client = strict.connected(chip)
      assert.is_true(client:close())
      strict.fails("not connected$", function() client:publish("t", "x", 0, 0) end)
      assert.is_false(client:close())
    end,
    esp32 = function(chip)
      local client = strict.connected(chip)
      client:close()
      assert.is_false(client:publish("t", "x", 0, 0))
    end,
  })
end)

describe("publish", function()
  strict.under("needs qos and retain, as numbers", function(chip)
    local client = strict.connected(chip)
    strict.fails("bad argument #3 to 'publish' %(number expected, got no value%)", function()
      client:publish("t", "x")
    end)
    strict.fails("bad argument #3 to 'publish' %(number expected, got function%)", function()
      client:publish("t", "x", print)
    end)
    strict.fails("bad argument #4 to 'publish' %(number expected, got no value%)", function()
      client:publish("t", "x", 0)
    end)
    strict.fails("bad argument #4 to 'publish' %(number expected, got boolean%)", function()
      client:publish("t", "x", 0, true)
    end)
    strict.fails("bad argument #3 to 'publish' %(number expected, got boolean%)", function()
      client:publish("t", "x", false, 0)
    end)
    assert.is_true(client:publish("t", "x", 1, 0))
    kit.eventually(function() return #broker:received() == 1 end)
  end)
end)

describe("connect while connected", function()
  strict.under("raises, or drops the old link", {
    esp8266 = function(chip)
      local client = strict.connected(chip)
      strict.fails("already connected$", function() client:connect("127.0.0.1", broker.port, 0) end)
    end,
    esp32 = function(chip)
      local client = strict.connected(chip)
      local log, note = strict.notes()
      client:on("offline", note("offline"))
      client:connect("127.0.0.1", broker.port, 0, note("ok"))
      kit.eventually(function() return #log == 2 end)
      assert.are.equal("offline ok", strict.names(log))
      assert.are.equal(2, broker:accepted())
    end,
  })
end)

describe("close while connecting", function()
  strict.under("does nothing, or ends the attempt", {
    esp8266 = function(chip)
      local log, note = strict.notes()
      local client = strict.client(chip)
      client:connect("127.0.0.1", broker.port, 0, note("ok"))
      assert.is_false(client:close())
      kit.eventually(function() return #log == 1 end)
    end,
    esp32 = function(chip)
      local client = strict.client(chip)
      client:connect("127.0.0.1", broker.port, 0)
      client:close()
      assert.are.equal("idle", client._native:state())
    end,
  })
end)

describe("connect(host, port, 0, 1, fn)", function()
  strict.under("takes the 1 for the place of a callback, or for autoreconnect", {
    esp8266 = function(chip)
      local log, note = strict.notes()
      strict.client(chip):connect("127.0.0.1", broker.port, 0, 1, note("fn"))
      kit.eventually(function() return broker:accepted() == 1 end)
      kit.settle()
      assert.are.equal("", strict.names(log))
      assert.matches("^.-profile_spec%.lua:%d+: the esp8266 takes #4 of connect", warnings[1])
      strict.client(chip):connect("127.0.0.1", support.closed_port(), 0, 1, note("fn"))
      kit.eventually(function() return #log == 1 end)
      assert.are.equal(mqtt.CONN_FAIL_SERVER_NOT_FOUND, log[1][4])
    end,
    esp32 = function(chip)
      local client = strict.client(chip, "again")
      local log, note = strict.notes()
      client:on("connect", note("on"))
      client:connect("127.0.0.1", broker.port, 0, 1, note("ok"))
      kit.eventually(function() return #log == 2 end)
      broker:kill("again")
      kit.eventually(function() return #log == 3 end)
      assert.are.equal("ok on on", strict.names(log))
      assert.are.same({}, warnings)
    end,
  })

  strict.under("loses a second function on one of them", {
    esp8266 = function(chip)
      strict.client(chip):connect("127.0.0.1", broker.port, 0, 1, print, print)
      assert.are.equal(2, #warnings)
      assert.matches("the esp8266 ignores the function at #6 of connect$", warnings[2])
    end,
    esp32 = function(chip)
      strict.client(chip):connect("127.0.0.1", broker.port, 0, 1, function() end, function() end)
      assert.are.same({}, warnings)
    end,
  })
end)

describe("secure as a boolean", function()
  strict.under("is a flag, or ends the reading of the arguments", {
    esp8266 = function(chip)
      local log, note = strict.notes()
      strict.client(chip):connect("127.0.0.1", broker.port, false, note("ok"), note("nok"))
      kit.eventually(function() return #log == 1 end)
      assert.are.equal("ok", strict.names(log))
      assert.are.same({}, warnings)
    end,
    esp32 = function(chip)
      local log, note = strict.notes()
      strict.client(chip):connect("127.0.0.1", broker.port, false, note("ok"), note("nok"))
      kit.eventually(function() return broker:accepted() == 1 end)
      kit.settle()
      assert.are.equal("", strict.names(log))
      assert.are.equal(1, #warnings)
      assert.matches("^.-profile_spec%.lua:%d+: the esp32 stops reading the arguments of connect at #3 %(boolean%)",
        warnings[1])
    end,
  })
end)

describe("a warning", function()
  strict.under("is given once for each place", function(chip)
    for _ = 1, 3 do strict.keep(strict.modules[chip].Client(("x"):rep(70), 60)) end
    assert.are.equal(1, #warnings)
    strict.keep(strict.modules[chip].Client(("x"):rep(70), 60))
    assert.are.equal(2, #warnings)
  end)
end)

describe("connect", function()
  strict.under("returns nothing, or true", {
    esp8266 = function(chip)
      assert.are.equal(0, select("#", strict.client(chip):connect("127.0.0.1", broker.port, 0)))
    end,
    esp32 = function(chip)
      assert.is_true(strict.client(chip):connect("127.0.0.1", broker.port, 0))
    end,
  })

  strict.under("knows hosts, no URIs", function(chip)
    strict.fails("bad argument #1 to 'connect'", function() strict.client(chip):connect("mqtt://localhost") end)
  end)
end)

describe("the functions given to connect", function()
  strict.under("are those of the events and stay, or are for once and come before them", {
    esp8266 = function(chip)
      local client = strict.client(chip)
      local log, note = strict.notes()
      client:on("connect", note("on"))
      client:connect("127.0.0.1", broker.port, 0, note("ok"))
      kit.eventually(function() return #log == 1 end)
      client:close()
      client:connect("127.0.0.1", broker.port, 0)
      kit.eventually(function() return #log == 2 end)
      assert.are.equal("ok ok", strict.names(log))
      client:close()
      client:on("connect", note("on"))
      client:connect("127.0.0.1", broker.port, 0)
      kit.eventually(function() return #log == 3 end)
      assert.are.equal("ok ok on", strict.names(log))
    end,
    esp32 = function(chip)
      local client = strict.client(chip)
      local log, note = strict.notes()
      client:on("connect", note("on"))
      client:connect("127.0.0.1", broker.port, 0, note("ok"))
      kit.eventually(function() return #log == 2 end)
      client:close()
      client:connect("127.0.0.1", broker.port, 0)
      kit.eventually(function() return #log == 3 end)
      assert.are.equal("ok on on", strict.names(log))
    end,
  })

  strict.under("hear of a failure, with the client and the reason only", {
    esp8266 = function(chip)
      local log, note = strict.notes()
      local client = strict.client(chip)
      client:connect("127.0.0.1", support.closed_port(), 0, note("ok"), note("nok"))
      kit.eventually(function() return #log == 1 end)
      assert.are.same({ "nok", 2, client, -5 }, log[1])
      client:connect("127.0.0.1", support.closed_port(), 0)
      kit.eventually(function() return #log == 2 end)
      assert.are.equal("nok nok", strict.names(log))
    end,
    esp32 = function(chip)
      local log, note = strict.notes()
      local client = strict.client(chip)
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
  strict.under("raises, or does nothing", {
    esp8266 = function(chip)
      local client = strict.client(chip)
      strict.fails("bad argument #2 to 'on' %(function expected, got nil%)", function() client:on("message", nil) end)
      strict.fails("bad argument #2 to 'on' %(function expected, got no value%)", function() client:on("message") end)
    end,
    esp32 = function(chip)
      local client = strict.client(chip)
      local log, note = strict.notes()
      client:on("connect", note("connect"))
      client:on("connect", nil)
      client:connect("127.0.0.1", broker.port, 0)
      kit.eventually(function() return #log == 1 end)
    end,
  })
end)

describe("the events", function()
  strict.under("are eight, or three", {
    esp8266 = function(chip)
      local client = strict.client(chip)
      for _, event in ipairs(support.EVENTS) do client:on(event, print) end
      strict.fails("method not supported$", function() client:on("nonsense", print) end)
    end,
    esp32 = function(chip)
      local client = strict.client(chip)
      for _, event in ipairs { "connect", "message", "offline" } do client:on(event, print) end
      for _, event in ipairs { "connfail", "overflow", "puback", "suback", "unsuback", "nonsense" } do
        strict.fails("bad argument #1 to 'on' %(invalid option '" .. event, function() client:on(event, print) end)
      end
    end,
  })

  strict.under("carry what the chip passes, no more", function(chip)
    local client = strict.connected(chip)
    local log, note = strict.notes()
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
  end)

  strict.under("carry no data for an empty message", function(chip)
    local client = strict.connected(chip)
    local log, note = strict.notes()
    client:on("message", note("message"))
    client:subscribe("t", 0, note("suback"))
    kit.eventually(function() return #log == 1 end)
    broker:publish("t", "")
    kit.eventually(function() return #log == 2 end)
    assert.is_nil(log[2][5])
    assert.are.equal("t", log[2][4])
  end)
end)

describe("the function given to publish or subscribe", function()
  strict.under("stays, or is for once", {
    esp8266 = function(chip)
      local client = strict.connected(chip)
      local log, note = strict.notes()
      client:publish("t", "1", 1, 0, note("puback"))
      kit.eventually(function() return #log == 1 end)
      client:publish("t", "2", 1, 0)
      client:publish("t", "3", 0, 0)
      kit.eventually(function() return #log == 3 end)
      client:subscribe("a", 0, note("suback"))
      kit.eventually(function() return #log == 4 end)
      client:subscribe({ b = 0, c = 1 })
      kit.eventually(function() return #log == 5 end)
      assert.are.equal("puback puback puback suback suback", strict.names(log))
    end,
    esp32 = function(chip)
      local client = strict.connected(chip)
      local log, note = strict.notes()
      client:publish("t", "1", 1, 0, note("first"))
      client:publish("t", "2", 1, 0, note("second"))
      kit.eventually(function() return #broker:received() == 2 and client._native:pending() == 0 end)
      client:publish("t", "3", 1, 0)
      kit.eventually(function() return #broker:received() == 3 and client._native:pending() == 0 end)
      client:subscribe("a", 0, note("suback"))
      kit.eventually(function() return #log == 2 end)
      client:subscribe("b", 0)
      kit.eventually(function() return broker:subscriptions(broker:clients()[1]).b end)
      assert.are.equal("second suback", strict.names(log))
    end,
  })

  strict.under("is called for QoS 0 too, or only for what is acknowledged", {
    esp8266 = function(chip)
      local client = strict.connected(chip)
      local log, note = strict.notes()
      client:publish("t", "x", 0, 0, note("puback"))
      kit.eventually(function() return #log == 1 end)
      assert.are.same({}, warnings)
    end,
    esp32 = function(chip)
      local client = strict.connected(chip)
      local log, note = strict.notes()
      client:publish("t", "x", 0, 0, note("puback"))
      assert.matches("^.-profile_spec%.lua:%d+: the esp32 never calls back for QoS 0", warnings[1])
      client:publish("t", "x", 1, 0)
      kit.eventually(function() return #log == 1 end)
      assert.are.equal(2, #broker:received())
    end,
  })

  strict.under("is lost behind a qos that a table of filters has already, or there is no table", {
    esp8266 = function(chip)
      local client = strict.connected(chip)
      client:subscribe({ a = 0 }, 0, function() end)
      assert.matches("^.-profile_spec%.lua:%d+: the esp8266 ignores the function at #3 of subscribe$", warnings[1])
      strict.fails("no topics found$", function() client:subscribe {} end)
    end,
    esp32 = function(chip)
      local client = strict.connected(chip)
      strict.fails("bad argument #1 to 'subscribe' %(string expected, got table%)", function()
        client:subscribe { a = 0 }
      end)
      strict.fails("bad argument #1 to 'unsubscribe' %(string expected, got table%)", function()
        client:unsubscribe { a = 0 }
      end)
    end,
  })

  strict.under("needs a qos before it", function(chip)
    local client = strict.connected(chip)
    strict.fails("bad argument #2 to 'subscribe' %(number expected, got function%)", function()
      client:subscribe("a", print)
    end)
  end)
end)

describe("the reasons", function()
  strict.under("have names, or none", {
    esp8266 = function(chip)
      assert.are.equal(-5, strict.modules[chip].CONN_FAIL_SERVER_NOT_FOUND)
      assert.are.equal(5, strict.modules[chip].CONNACK_REFUSED_NOT_AUTHORIZED)
      assert.is_nil(strict.modules[chip].CONN_FAIL_TLS)
    end,
    esp32 = function(chip)
      for name in pairs(strict.modules[chip]) do assert.not_matches("^CONN", name) end
    end,
  })
end)

-- What a strict client sends as CONNECT, by a peer that speaks in bytes.

describe("configure", function()
  it("puts the strict module in the place of the global", function()
    local nodemcu = require("nodemcu")
    nodemcu.configure { profile = "esp32" }
    assert.is_nil(_G.mqtt.CONN_FAIL_DNS)
    assert.are.equal("function", type(_G.mqtt.run))
    assert.are.equal(mqtt, require("mqtt"))
    rawset(_G, "mqtt", mqtt)
    strict.fails("no such profile: esp1", nodemcu.configure, { profile = "esp1" })
  end)
end)
