-- autoreconnect, resubscribe, keep-alive and sessions that are kept.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local socket = require("socket")
local support = require("tests.spec.support")

local text, hex = support.text, support.hex

-- The shortest waits that the contract allows.
local SOON = { min = 0.25, max = 0.25 }

-- Moves time until the peer is dialled, which then is to accept; how long that took, in milliseconds.
local function until_dialled(clock, peer)
  local began = clock:now()
  repeat clock:advance(10) until socket.select({ peer.server }, nil, 0)[1] or clock:now() > 1e6
  return clock:now() - began
end

describe("autoreconnect", function()
  after_each(support.finish)

  it("does not retry a failing first connect", function()
    local client = support.client("first")
    local log = support.record(client)
    client:connect("127.0.0.1", support.closed_port(), 0, SOON)
    support.entries(log, 1)
    assert.are.equal("connfail", log[1][1])
    assert.are.equal("idle", client:state())
    assert.is_true(mqtt.run(5))
    assert.are.equal(1, #log)
  end)

  it("runs offline at each loss and connect at each return, and no error callback", function()
    local client, peer = support.pair(nil, SOON)
    local log = support.record(client)
    local function unexpected() log[#log + 1] = "unexpected" end
    client:on("connfail", unexpected)
    for i = 1, 2 do
      peer:drop()
      support.entries(log, 2 * i - 1)
      assert.are.equal("reconnecting", client:state())
      -- An attempt that fails on the way is silent.
      peer:accept():read()
      peer:drop()
      peer:welcome()
      support.entries(log, 2 * i)
    end
    assert.are.same({ { "offline" }, { "connect", false }, { "offline" }, { "connect", false } }, log)
  end)

  it("waits about min before it dials again", function()
    local clock = kit.clock()
    local client, peer = support.pair(nil, { min = 0.5, max = 0.5 })
    peer:drop()
    kit.settle()
    assert.are.equal("reconnecting", client:state())
    local waited = until_dialled(clock, peer)
    assert(waited >= 450 and waited <= 550, waited)
  end)

  it("doubles the wait while nothing progresses", function()
    local clock = kit.clock()
    local _, peer = support.pair(nil, { min = 0.25, max = 1 })
    peer:drop()
    for _, wait in ipairs { 250, 500, 1000, 1000 } do
      local waited = until_dialled(clock, peer)
      assert(waited >= 0.9 * wait and waited <= 1.1 * wait, waited)
      -- Accepts and drops: no progress, so no start over.
      peer:welcome()
      peer:drop()
    end
  end)

  it("keeps QoS 1 and 2 while it is away, in order, and refuses QoS 0", function()
    local client, peer = support.pair(nil, SOON)
    peer:drop()
    kit.eventually(function() return client:state() == "reconnecting" end)
    assert.are.same({ false, "not connected" }, { client:publish("t", "0", 0) })
    assert.is_true(client:publish("t", "1", 1))
    assert.is_true(client:publish("t", "2", 2))
    assert.is_true(client:publish("t", "3", 1))
    assert.are.same({ false, "not connected" }, { client:subscribe("t", 0) })
    assert.are.same({ false, "not connected" }, { client:unsubscribe("t") })
    assert.are.equal(3, (client:pending()))
    peer:welcome()
    for i = 1, 3 do assert.are.equal(tostring(i), peer:read():sub(8)) end
  end)

  it("publishes afresh what a clean session left unacknowledged", function()
    local client, peer = support.pair(nil, SOON)
    local done = {}
    client:on("puback", function(_, id) done[#done + 1] = id end)
    client:publish("t", "one", 1)
    client:publish("t", "two", 2)
    client:publish("t", "three", 2)
    peer:read()
    local second = peer:read():sub(6, 7)
    peer:read()
    -- "two" has its PUBREC before the link breaks: done, its puback runs.
    peer:send("\80\2" .. second)
    assert.are.equal(hex("\98\2" .. second), hex(peer:read()))
    peer:drop()
    peer:welcome()
    local one, three = peer:read(), peer:read()
    assert.are.equal(0x32, one:byte())
    assert.are.equal("one", one:sub(8))
    assert.are.equal(0x34, three:byte())
    assert.are.equal("three", three:sub(8))
    support.entries(done, 1)
    assert.are.same({ 2 }, done)
    assert.is_true(peer:quiet())
  end)

  it("goes on with DUP and PUBREL where the broker kept the session", function()
    local client, peer = support.pair({ cleansession = 0 }, SOON)
    client:publish("t", "one", 1)
    client:publish("t", "two", 2)
    client:publish("t", "three", 2)
    local one, two, three = peer:read(), peer:read(), peer:read()
    peer:send("\80\2" .. two:sub(6, 7))
    peer:read()
    peer:drop()
    peer:welcome("\32\2\1\0")
    -- The standard orders the one kind and the other, not both together.
    local releases, publishes = {}, {}
    for _ = 1, 3 do
      local bytes = peer:read()
      local list = bytes:byte() == 0x62 and releases or publishes
      list[#list + 1] = hex(bytes)
    end
    assert.are.same({ hex("\98\2" .. two:sub(6, 7)) }, releases)
    assert.are.same({ hex("\58" .. one:sub(2)), hex("\60" .. three:sub(2)) }, publishes)
  end)

  it("ends with close while it is away, without a callback", function()
    local client, peer = support.pair(nil, SOON)
    local log = support.record(client)
    peer:drop()
    support.entries(log, 1)
    client:close()
    assert.are.equal("idle", client:state())
    assert.is_true(mqtt.run(5))
    assert.are.same({ { "offline" } }, log)
    peer.server:settimeout(0.4)
    assert.is_nil((peer.server:accept()))
  end)

  it("uses the will of the last lwt call", function()
    local client, peer = support.pair(nil, SOON)
    client:lwt("gone", "later")
    peer:drop()
    local expected = text("gone") .. text("later")
    assert.are.equal(hex(expected), hex(peer:welcome():sub(-#expected)))
  end)

  it("leaves the subscriptions to the script by default", function()
    local client, peer = support.pair(nil, SOON)
    client:subscribe("a", 1)
    peer:send("\144\3" .. peer:read():sub(3, 4) .. "\1")
    peer:drop()
    peer:welcome()
    assert.is_true(peer:quiet())
  end)
end)

describe("resubscribe", function()
  after_each(support.finish)

  local function subscribed()
    local client, peer = support.pair({ resubscribe = true, cleansession = 0 }, SOON)
    client:subscribe { a = 1, b = 2, c = 0 }
    peer:send("\144\5" .. peer:read():sub(3, 4) .. "\1\1\1")
    client:unsubscribe("b")
    peer:send("\176\2" .. peer:read():sub(3, 4))
    kit.settle()
    return client, peer
  end

  it("renews the subscriptions when the broker did not keep the session", function()
    local _, peer = subscribed()
    peer:drop()
    peer:welcome()
    local body = peer:read():sub(5)
    local a, c = text("a") .. "\1", text("c") .. "\0"
    assert(body == a .. c or body == c .. a, hex(body))
  end)

  it("sends nothing when it kept it", function()
    local _, peer = subscribed()
    peer:drop()
    peer:welcome("\32\2\1\0")
    assert.is_true(peer:quiet())
  end)
end)

describe("keep-alive", function()
  after_each(support.finish)

  -- What else there is to keep-alive is in kit_spec.lua, on a clock that the test moves.
  it("goes on while Lua computes for longer than it", function()
    local broker = support.broker()
    local client = support.connected(broker.port, { keepalive = 1 })
    local offline = false
    client:on("offline", function() offline = true end)
    -- A broker drops a client that was silent for one and a half keep-alives.
    local deadline = socket.gettime() + 2.5
    repeat until socket.gettime() > deadline
    kit.settle()
    assert.is_false(offline)
    assert.are.equal("connected", client:state())
  end)
end)

describe("a broker that goes away and comes back", function()
  after_each(support.finish)

  it("gets every message of QoS 1 and 2 that was accepted, in order", function()
    local broker = support.broker()
    local reader = support.connected(broker.port, { cleansession = 0 }, SOON)
    local writer = support.connected(broker.port, { cleansession = 0 }, SOON)
    support.subscribed(reader, "t", 2)
    local got = {}
    reader:on("message", function(_, _, data) got[#got + 1] = tonumber(data) end)
    for i = 1, 30 do
      if i % 10 == 0 then
        broker:stop()
        broker:restart()
      end
      assert.is_true(writer:publish("t", i, 2))
    end
    kit.eventually(function() return #got >= 30 and writer:pending() == 0 end, 10)
    for i = 1, 30 do assert.are.equal(i, got[i]) end
  end)
end)

describe("a persistent session", function()
  after_each(support.finish)

  it("is told by session_present, and brings what was missed", function()
    local broker = support.broker()
    local id = support.unique("kept")
    local client = support.connected(broker.port, { clientid = id, cleansession = 0 })
    support.subscribed(client, "news", 1)
    client:close()
    local writer = support.connected(broker.port)
    writer:publish("news", "missed", 1)
    kit.eventually(function() return writer:pending() == 0 end)
    local present, data
    client:on("message", function(_, _, d) data = d end)
    client:connect("127.0.0.1", broker.port, function(_, session_present) present = session_present end)
    kit.eventually(function() return data end)
    assert.is_true(present)
    assert.are.equal("missed", data)
  end)

  it("is gone after a clean one", function()
    local broker = support.broker()
    local id = support.unique("kept")
    local present = {}
    for i, clean in ipairs { 0, 0, 1, 0 } do
      local client = support.client(id, 60, nil, nil, clean)
      client:connect("127.0.0.1", broker.port, function(c, session_present)
        present[i] = session_present
        c:close()
      end)
      kit.eventually(function() return present[i] ~= nil and client:state() == "idle" end)
    end
    assert.are.same({ false, true, false, false }, present)
  end)
end)
