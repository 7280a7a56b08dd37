-- The test kit: eventually, the clock, the broker, the assertions for luassert.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local kit = require("mqtt.test")
local current_clock = require("mqtt.test.clock").current
local socket = require("socket")
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

  it("holds when nothing is returned and nothing raised, and gives all values back", function()
    kit.eventually(function() assert.is_true(true) end)
    assert.are.same({ 1, nil, 3 }, { kit.eventually(function() return 1, nil, 3 end) })
  end)

  it("takes assertions that fail at first", function()
    local client, peer = support.pair()
    local seen = 0
    client:on("message", function() seen = seen + 1 end)
    peer:send(support.packet(0x30, support.text("m")))
    kit.eventually(function() assert.are.equal(1, seen) end)
  end)

  it("reports the last failure, as text or as the error itself", function()
    local n = 0
    local ok, message = pcall(function()
      kit.eventually(function()
        n = n + 1
        error("failure no. " .. n)
      end, 0.05)
      return true
    end)
    assert.is_false(ok)
    assert.matches("kit_spec.lua:%d+: within 0.05 s: .*kit_spec.lua:%d+: failure no. " .. n, message)
    local object = {}
    local _, err = pcall(kit.eventually, function() error(object) end, 0.02)
    assert.are.equal(object, err)
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
    assert.are.equal(0, fired)
    clock:advance(1)
    assert.are.equal(1, fired)
  end)

  -- A timer that ends with the test.
  local function timer()
    local made = tmr.create()
    finally(function() made:unregister() end)
    return made
  end

  it("runs what is due in its order, each at its time", function()
    local log = {}
    local function note(name) log[#log + 1] = name .. " " .. clock:now() end
    timer():alarm(300, tmr.ALARM_AUTO, function() note("c") end)
    tmr.create():alarm(200, tmr.ALARM_SINGLE, function()
      note("b")
      tmr.create():alarm(50, tmr.ALARM_SINGLE, function() note("d") end)
    end)
    tmr.create():alarm(100, tmr.ALARM_SINGLE, function() note("a") end)
    clock:advance(700)
    assert.are.same({ "a 100", "b 200", "d 250", "c 300", "c 600" }, log)
    assert.are.equal(700, clock:now())
  end)

  it("stands where a callback raised an error, and goes on from there", function()
    local fired = 0
    timer():alarm(10, tmr.ALARM_AUTO, function()
      fired = fired + 1
      if fired == 2 then error("second") end
    end)
    local ok, err = pcall(clock.advance, clock, 100)
    assert.is_false(ok)
    assert.matches("second", err)
    assert.are.equal(20, clock:now())
    clock:advance(80)
    assert.are.equal(10, fired)
  end)

  it("waits for the embedded broker's answers: each comes before time goes on", function()
    local broker = support.broker()
    local client = support.connected(broker.port)
    support.subscribed(client, "echo", 2)
    local log = {}
    client:on("message", function(_, _, data) log[#log + 1] = data .. " " .. clock:now() end)
    local sent = 0
    timer():alarm(1000, tmr.ALARM_AUTO, function()
      sent = sent + 1
      client:publish("echo", sent, 2)
    end)
    clock:advance(50 * 1000)
    local expected = {}
    for i = 1, 50 do expected[i] = i .. " " .. i * 1000 end
    assert.are.same(expected, log)
    assert.are.equal(0, (client:pending()))
  end)

  it("lives an hour of a script in a moment, the same each time", function()
    local function hour()
      local own = kit.clock()
      local broker = support.broker()
      local log = {}
      local function note(text) log[#log + 1] = own:now() .. " " .. text end
      local client = support.client("hourly", 30)
      client:on("connect", function() note("connect") end)
      client:on("offline", function() note("offline") end)
      client:connect("127.0.0.1", broker.port, 0, 1)
      local minute = tmr.create()
      minute:alarm(60 * 1000, tmr.ALARM_AUTO, function() client:publish("minute", own:now(), 1) end)
      own:advance(20 * 60 * 1000)
      broker:stop()
      own:advance(10 * 60 * 1000)
      broker:restart()
      own:advance(30 * 60 * 1000)
      minute:unregister()
      assert.are.equal(0, (client:pending()))
      for _, message in ipairs(broker:received()) do log[#log + 1] = message.payload end
      return log
    end
    local began = os.clock()
    local first = hour()
    assert.are.same(first, hour())
    -- twenty minutes, ten of absence, then the ones that waited and the rest
    local minutes = 0
    for _, line in ipairs(first) do if line:match("^%d+$") then minutes = minutes + 1 end end
    assert.are.equal(60, minutes)
    assert.matches("^0 connect$", first[1])
    assert.matches("^1200000 offline$", first[2])
    assert.is_true(os.clock() - began < 3)
  end)

  it("gives the network up that does not answer, after a while of its own", function()
    local peer = support.peer()
    local client = support.client { clientid = "x", connect_timeout = 5 }
    local reason
    client:connect("127.0.0.1", peer.port, function() end, function(_, why) reason = why end)
    clock:advance(5000)
    assert.are.equal(mqtt.CONN_FAIL_TIMEOUT_RECEIVING, reason)
  end)

  it("moves what a broker holds back", function()
    local broker = support.broker { faults = { delay = 15 } }
    local client = support.client { clientid = "patient", connect_timeout = 20, keepalive = 0 }
    local log = support.record(client, { "connect", "connfail", "puback", "message" })
    client:connect("127.0.0.1", broker.port)
    clock:advance(14999)
    assert.are.equal("connecting", client:state())
    clock:advance(1)
    assert.are.equal("connected", client:state())
    client:subscribe("t", 1)
    client:publish("t", "x", 1)
    clock:advance(10 * 1000)
    client:publish("t", "y", 1)
    clock:advance(4999)
    assert.are.equal(1, #log)
    assert.are.equal(2, #broker:received())
    clock:advance(1) -- what came up meanwhile goes out with it
    assert.are.equal(5, #log)
    assert.are.equal(0, (client:pending()))
    broker:faults { delay = 25 } -- the answer comes too late once
    client:connect("127.0.0.1", broker.port)
    clock:advance(20 * 1000)
    assert.are.same({ "connfail", mqtt.CONN_FAIL_TIMEOUT_RECEIVING }, { log[#log][1], log[#log][2] })
  end)

  it("lets a swallowed answer be missed", function()
    local broker = support.broker { faults = { swallow = { "pingresp" } } }
    local client = support.connected(broker.port, { keepalive = 60 })
    local offline
    client:on("offline", function() offline = clock:now() end)
    clock:advance(200 * 1000)
    -- the PINGREQ after 60 seconds at the latest, and half as much for its answer
    assert.is_true(offline > 89 * 1000 and offline <= 90 * 1000, offline)
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

describe("what a test begins", function()
  local broker, script

  it("runs in it", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write("mqtt.Client('ended'):connect('10.0.0.1', 1883)")
    file:close()
    local clock = kit.clock()
    broker = kit.broker()
    script = kit.run_script(path, { broker = broker })
    os.remove(path)
    clock:advance(0)
    assert.are.same({ "ended" }, broker:clients())
    assert.are.equal(clock, current_clock())
  end)

  it("ends with it: the script, its broker, the clock", function()
    assert.is_nil((socket.connect("127.0.0.1", broker.port)))
    assert.are.same({}, script:clients())
    assert.is_nil(current_clock())
  end)
end)

describe("what before_each begins", function()
  local broker

  before_each(function() broker = broker or kit.broker() end)

  for _, time in ipairs { "at first", "later" } do
    it("is there " .. time, function() assert(socket.connect("127.0.0.1", broker.port)):close() end)
  end

  teardown(function()
    if broker then broker:stop() end -- not when tags leave these tests out
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

  it("raises what is wrong with its options where they are given", function()
    local broker = support.broker()
    local _, message = pcall(function() kit.broker { port = broker.port } end)
    assert.matches("^[^:]*kit_spec.lua:%d+: cannot start the broker on 127.0.0.1:" .. broker.port, message)
    _, message = pcall(function() kit.clock():advance("soon") end)
    assert.matches("^[^:]*kit_spec.lua:%d+: bad argument #1 to 'advance'", message)
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
    kit.settle()
    assert.are.same({ { "message", "t", "once", 2, false, false } }, log)
  end)
end)

describe("broker:received", function()
  local broker

  before_each(function()
    broker = support.broker()
    for _, id in ipairs { "one", "two" } do
      local client = support.connected(broker.port, { clientid = id })
      client:publish("room/" .. id, "cold", 1)
      client:publish("room/" .. id .. "/lamp", "on", 0, 1)
      kit.eventually(function() return client:pending() == 0 end)
    end
    kit.settle()
  end)
  after_each(support.finish)

  local function topics(filter)
    local list = {}
    for _, message in ipairs(broker:received(filter)) do list[#list + 1] = message.topic end
    return list
  end

  it("takes a client, a topic filter, a payload, a qos and flags, which all have to fit", function()
    assert.are.same({ "room/one", "room/one/lamp", "room/two", "room/two/lamp" }, topics())
    assert.are.same({ "room/one", "room/one/lamp" }, topics { client = "one" })
    assert.are.same({ "room/one", "room/two" }, topics { topic = "room/+" })
    assert.are.same({ "room/one/lamp", "room/two/lamp" }, topics { payload = "on" })
    assert.are.same({ "room/two" }, topics { client = "two", qos = 1 })
    assert.are.same({ "room/one/lamp", "room/two/lamp" }, topics { retain = true })
    assert.are.same({}, topics { client = "one", topic = "room/two" })
    assert.are.same({}, topics { dup = true })
  end)

  it("refuses what it does not know", function()
    local ok, message = pcall(topics, { sender = "one" })
    assert.is_false(ok)
    assert.matches("kit_spec.lua:%d+: bad argument #1 to 'received' %(one of client, topic", message)
  end)
end)

describe("kit.broker{ retained = … }", function()
  after_each(support.finish)

  it("has them from the beginning", function()
    local broker = support.broker { retained = { ["lamp/state"] = "on", ["lamp/level"] = 7 } }
    assert.are.same({ ["lamp/state"] = "on", ["lamp/level"] = "7" }, broker:retained())
    assert.are.same({}, broker:received())
    local client = support.connected(broker.port)
    local seen = {}
    client:on("message", function(_, topic, data, _, retain) seen[topic] = { data, retain } end)
    support.subscribed(client, "lamp/#", 1)
    kit.eventually(function() assert.are.same({ "7", true }, seen["lamp/level"]) end)
    assert.are.same({ "on", true }, seen["lamp/state"])
    client:publish("lamp/state", "", 1, 1)
    kit.settle()
    assert.are.same({ ["lamp/level"] = "7" }, broker:retained())
  end)

  it("wants topics and payloads", function()
    for _, wrong in ipairs { { ["a/#"] = "x" }, { a = {} }, "a" } do
      local ok, message = pcall(kit.broker, { retained = wrong })
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'start'", message)
    end
  end)
end)

describe("the assertions for luassert", function()
  after_each(support.finish)

  it("wait for a message, with or without its payload", function()
    local broker = support.broker()
    local client = support.connected(broker.port)
    client:publish("a/b", "payload", 1)
    assert.published(broker, "a/b", "payload")
    assert.published(broker, "a/+")
    assert.is_not.published(broker, "a/b", "other")
    assert.is_not.published(broker, "c")
  end)

  it("tell what came instead", function()
    local broker = support.broker()
    local client = support.connected(broker.port, { clientid = "teller" })
    client:publish("a/b", "payload", 1)
    local ok, message = pcall(function() assert.is_not.published(broker, "a/b") end)
    assert.is_false(ok)
    assert.matches('received a message on "a/b" with payload any; it received:\n  a/b "payload" qos 1, from teller',
      tostring(message), 1, true)
  end)

  it("know whether a client is connected", function()
    local broker = support.broker()
    local client = support.client("x")
    assert.is_not.connected(client)
    client:connect("127.0.0.1", broker.port)
    assert.connected(client)
    local ok, message = pcall(function() assert.is_not.connected(client) end)
    assert.is_false(ok)
    assert.matches("the client is connected", tostring(message), 1, true)
  end)
end)
