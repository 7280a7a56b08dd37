local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local hex = support.hex

describe("kit.eventually", function()
  after_each(support.finish)

  it("returns the condition's value", function()
    assert.are.equal("yes", kit.eventually(function() return "yes" end))
  end)

  it("raises an error that points at its caller when the time is over", function()
    local ok, message = pcall(function()
      kit.eventually(function() return false end, 0.02)
      return true
    end)
    assert.is_false(ok)
    assert.matches("kit_spec.lua:%d+: ", message)
  end)

  it("runs callbacks, and lets their errors out", function()
    local client, peer = support.pair()
    local problem = {}
    client:on("message", function() error(problem) end)
    peer:send(support.packet(0x30, support.text("m")))
    local ok, err = pcall(kit.eventually, function() return false end)
    assert.is_false(ok)
    assert.are.equal(problem, err)
  end)
end)

describe("kit.clock", function()
  local clock

  before_each(function() clock = kit.clock() end)
  after_each(function()
    support.finish()
    clock:restore()
  end)

  it("moves timers", function()
    local fired = 0
    tmr.create():alarm(3600 * 1000, tmr.ALARM_SINGLE, function() fired = fired + 1 end)
    clock:advance(3600 * 1000 - 1)
    assert.are.equal(0, mqtt.poll())
    clock:advance(1)
    assert.are.equal(1, mqtt.poll())
    assert.are.equal(1, fired)
  end)

  it("moves keep-alive: a PINGREQ when nothing was sent for so long, not before", function()
    local client, peer = support.pair { keepalive = 60 }
    clock:advance(59 * 1000)
    assert.is_true(peer:quiet())
    clock:advance(1000)
    assert.are.equal(hex("\192\0"), hex(peer:read()))
    local before = mqtt.stats().packets_in
    peer:send("\208\0")
    kit.eventually(function() return mqtt.stats().packets_in > before end)
    -- What is sent puts the next one off, what arrives does not.
    clock:advance(30 * 1000)
    client:publish("t", "x")
    assert.are.equal(0x30, peer:read():byte())
    clock:advance(30 * 1000)
    peer:send(support.packet(0x30, support.text("m")))
    assert.is_true(peer:quiet())
    clock:advance(30 * 1000)
    assert.are.equal(hex("\192\0"), hex(peer:read()))
  end)

  it("moves the detection of a dead peer", function()
    local client, peer = support.pair { keepalive = 60 }
    local log = support.record(client)
    clock:advance(60 * 1000)
    assert.are.equal(hex("\192\0"), hex(peer:read()))
    clock:advance(30 * 1000)
    support.entries(log, 1)
    assert.are.same({ { "offline" } }, log)
  end)

  it("leaves keep-alive 0 off", function()
    local _, peer = support.pair { keepalive = 0 }
    clock:advance(1e6 * 1000)
    assert.is_true(peer:quiet())
  end)

  it("moves the limit of an attempt", function()
    local peer = support.peer()
    local client = support.client("id")
    local reason
    client:connect("127.0.0.1", peer.port, function() end, function(_, r) reason = r end)
    peer:accept():read()
    clock:advance(9900)
    mqtt.poll(0.02)
    assert.is_nil(reason)
    clock:advance(100)
    kit.eventually(function() return reason end)
    assert.are.equal(mqtt.CONN_FAIL_TIMEOUT_RECEIVING, reason)
  end)

  it("moves the waits of autoreconnect: doubling from 0.25 to 60 seconds, give or take a tenth", function()
    local client, peer = support.pair({ connect_timeout = 3600 }, 1)
    peer:drop()
    kit.eventually(function() return client:state() == "reconnecting" end)
    local wait = 250
    for _ = 1, 12 do
      clock:advance(wait * 0.9 - 1)
      peer.server:settimeout(0.02)
      assert.is_nil((peer.server:accept()), wait)
      -- One step of a fifth is enough, unless the client saw the end of the last attempt late.
      kit.eventually(function()
        clock:advance(wait * 0.2 + 2)
        peer.link = peer.server:accept()
        return peer.link
      end)
      peer.link:settimeout(5)
      peer:read()
      peer:drop()
      wait = math.min(wait * 2, 60000)
    end
  end)
end)

describe("kit.broker", function()
  after_each(support.finish)

  it("tells what arrived, and who is there", function()
    local broker = support.broker()
    local client = support.connected(broker.port, { clientid = "known" })
    support.subscribed(client, "a/#", 1)
    client:publish("t", "x", 1, 1)
    kit.eventually(function() return client:pending() == 0 end)
    assert.are.same({ "known" }, broker:clients())
    assert.are.same({ ["a/#"] = 1 }, broker:subscriptions("known"))
    local message = broker:received()[1]
    assert.are.same(
      { "known", "t", "x", 1, true, false },
      { message.client, message.topic, message.payload, message.qos, message.retain, message.dup })
  end)

  it("publishes", function()
    local broker = support.broker()
    local client = support.subscribed(support.connected(broker.port), "news", 2)
    local log = support.record(client, { "message" })
    broker:publish("news", "x", 2)
    support.entries(log, 1)
    assert.are.same({ { "message", "news", "x", 2, false, false } }, log)
  end)

  it("checks passwords", function()
    local broker = support.broker { users = { anna = "secret" } }
    support.connected(broker.port, { username = "anna", password = "secret" })
    local reason
    support.client("x", 60, "anna", "wrong"):connect("127.0.0.1", broker.port, function() end,
      function(_, r) reason = r end)
    kit.eventually(function() return reason end)
    assert.are.equal(mqtt.CONNACK_REFUSED_BAD_USER_OR_PASS, reason)
  end)

  it("refuses with a code, once", function()
    local broker = support.broker()
    broker:next_faults { connack = 3 }
    local client = support.client("x")
    local reason
    client:connect("127.0.0.1", broker.port, function() end, function(_, r) reason = r end)
    kit.eventually(function() return reason end)
    assert.are.equal(mqtt.CONNACK_REFUSED_SERVER_UNAVAILABLE, reason)
    support.connected(broker.port)
  end)

  it("cuts a connection, and sends byte by byte", function()
    local broker = support.broker { faults = { byte_by_byte = true } }
    local client = support.connected(broker.port, { clientid = "cut" })
    support.subscribed(client, "t", 2)
    local log = support.record(client, { "message", "offline" })
    client:publish("t", "x", 2)
    support.entries(log, 1)
    assert.is_true(broker:kill("cut"))
    support.entries(log, 2)
    assert.are.same({ { "message", "t", "x", 2, false, false }, { "offline" } }, log)
  end)

  it("swallows and repeats acknowledgements: exactly one delivery at QoS 2 all the same", function()
    local broker = support.broker()
    local reader = support.subscribed(support.connected(broker.port), "t", 2)
    local log = support.record(reader, { "message" })
    broker:client_faults("writer", { swallow = { "pubrec" }, duplicate = { "pubcomp" } })
    local writer = support.connected(broker.port, { clientid = "writer", cleansession = 0 }, { min = 0.25, max = 0.25 })
    writer:publish("t", "once", 2)
    kit.eventually(function() return #broker:received() == 1 end)
    broker:client_faults("writer", { duplicate = { "pubrec", "pubcomp" } })
    broker:kill("writer")
    kit.eventually(function() return writer:pending() == 0 end)
    support.entries(log, 1)
    mqtt.poll(0.02)
    assert.are.same({ { "message", "t", "once", 2, false, false } }, log)
  end)
end)
