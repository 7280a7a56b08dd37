-- client:publish: what it sends, refuses and answers.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local text, packet, hex = support.text, support.packet, support.hex

-- The id of a PUBLISH at QoS 1 or 2 with the topic.
local function id_of(publish, topic)
  local at = publish:find(text(topic), 1, true) + 2 + #topic
  return publish:sub(at, at + 1)
end

describe("client:publish sends", function()
  local client, peer

  before_each(function() client, peer = support.pair() end)
  after_each(support.finish)

  local function expect(bytes, ...)
    assert.is_true(client:publish(...))
    assert.are.equal(hex(bytes), hex(peer:read()))
  end

  it("QoS 0 without retain by default", function() expect(packet(0x30, text("t") .. "x"), "t", "x") end)

  it("the retain flag", function()
    expect(packet(0x31, text("t") .. "x"), "t", "x", 0, 1)
    expect(packet(0x31, text("t") .. "x"), "t", "x", nil, true)
  end)

  it("QoS 1 and 2 with an id", function()
    expect(packet(0x32, text("t") .. "\0\1x"), "t", "x", 1)
    expect(packet(0x34, text("t") .. "\0\2x"), "t", "x", 2, 0)
  end)

  it("payloads with any byte in them", function()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    local payload = table.concat(bytes)
    expect(packet(0x30, text("t") .. payload), "t", payload)
  end)

  it("an empty payload", function() expect(packet(0x30, text("t")), "t", "") end)

  it("a number as Lua writes it", function()
    expect(packet(0x30, text("t") .. "42"), "t", 42)
    expect(packet(0x30, text("t") .. "2.5"), "t", 2.5)
  end)

  it("topics in UTF-8, of up to 65535 bytes", function()
    expect(packet(0x30, text("Zürich/°C") .. "x"), "Zürich/°C", "x")
    local long = ("x"):rep(65535)
    expect(packet(0x30, text(long) .. "x"), long, "x")
  end)

  it("a payload of a megabyte", function()
    local payload = ("0123456789abcdef"):rep(65536)
    assert.is_true(client:publish("t", payload))
    assert.is_true(packet(0x30, text("t") .. payload) == peer:read())
  end)

  it("what is published in a row, in order", function()
    for i = 1, 100 do assert.is_true(client:publish("t", i, i % 3)) end
    for i = 1, 100 do
      local publish = peer:read()
      assert.are.equal(tostring(i), publish:sub(i % 3 == 0 and 6 or 8))
      if i % 3 == 1 then peer:send("\64\2" .. id_of(publish, "t")) end
      if i % 3 == 2 then peer:send("\80\2" .. id_of(publish, "t")) end
    end
  end)
end)

describe("client:publish returns false", function()
  after_each(support.finish)

  it("before the first connection, while connecting, and after close", function()
    local client = support.client("offline")
    for qos = 0, 2 do assert.are.same({ false, "not connected" }, { client:publish("t", "x", qos) }) end
    local peer = support.peer()
    client:connect("127.0.0.1", peer.port)
    assert.are.same({ false, "not connected" }, { client:publish("t", "x", 1) })
    peer:welcome()
    kit.eventually(function() return client:state() == "connected" end)
    assert.is_true(client:publish("t", "x"))
    client:close()
    assert.are.same({ false, "not connected" }, { client:publish("t", "x", 1) })
  end)

  it("once an accepted connection was lost", function()
    local client, peer = support.pair()
    peer:drop()
    kit.eventually(function() return client:state() == "idle" end)
    assert.are.same({ false, "not connected" }, { client:publish("t", "x", 1) })
  end)

  it("when the queue is full, until there is room again", function()
    local client, peer = support.pair { max_queue = 4096 }
    local payload = ("x"):rep(1000)
    local accepted, ok, why = 0, true, nil
    while ok do
      ok, why = client:publish("t", payload, 1)
      if ok then accepted = accepted + 1 end
      assert(accepted < 10)
    end
    assert.are.equal("queue full", why)
    assert(accepted >= 3)
    for _ = 1, accepted do peer:send("\64\2" .. id_of(peer:read(), "t")) end
    kit.eventually(function() return client:pending() == 0 end)
    assert.is_true(client:publish("t", payload, 1))
  end)

  it("and poll comes back when a queue that refused is half empty again", function()
    local client, peer = support.pair { max_queue = 4096 }
    repeat until not client:publish("t", ("x"):rep(1000), 1)
    for _ = 1, 3 do peer:send("\64\2" .. id_of(peer:read(), "t")) end
    assert.are.equal(0, mqtt.poll(5))
    assert.is_true(client:publish("t", "x", 1))
  end)
end)

describe("the publish callback", function()
  local client, peer

  before_each(function() client, peer = support.pair() end)
  after_each(support.finish)

  it("runs with the client and no id when QoS 0 went to the system", function()
    local calls = {}
    client:publish("t", "x", 0, 0, function(...) calls[#calls + 1] = { select("#", ...), ... } end)
    assert.are.same({}, calls)
    support.entries(calls, 1)
    assert.are.equal(client, calls[1][2])
    assert.is_nil(calls[1][3])
  end)

  it("runs at PUBACK with the client and the packet id", function()
    local calls = {}
    client:publish("t", "x", 1, 0, function(...) calls[#calls + 1] = { ... } end)
    local publish = peer:read()
    kit.settle()
    assert.are.same({}, calls)
    peer:send("\64\2" .. id_of(publish, "t"))
    support.entries(calls, 1)
    assert.are.same({ { client, 1 } }, calls)
  end)

  it("runs at PUBCOMP for QoS 2, not at PUBREC", function()
    local calls = {}
    client:publish("t", "x", 2, 0, function(...) calls[#calls + 1] = { ... } end)
    local id = id_of(peer:read(), "t")
    peer:send("\80\2" .. id)
    assert.are.equal(hex("\98\2" .. id), hex(peer:read()))
    kit.settle()
    assert.are.same({}, calls)
    peer:send("\112\2" .. id)
    support.entries(calls, 1)
    assert.are.same({ { client, 1 } }, calls)
  end)

  it("is taken in the fifth place and in the third when nothing else is given", function()
    local calls = {}
    client:publish("t", "x", nil, nil, function() calls[#calls + 1] = "fifth" end)
    support.entries(calls, 1)
    assert.are.same({ "fifth" }, calls)
  end)

  it("given last serves all calls, those of before included", function()
    local calls = {}
    client:publish("t", "1", 1, 0, function() calls[#calls + 1] = "first" end)
    client:publish("t", "2", 1, 0, function() calls[#calls + 1] = "second" end)
    client:publish("t", "3", 1)
    for _ = 1, 3 do peer:send("\64\2" .. id_of(peer:read(), "t")) end
    support.entries(calls, 3)
    assert.are.same({ "second", "second", "second" }, calls)
  end)

  it("is the slot of on(\"puback\")", function()
    local calls = {}
    client:on("puback", function() calls[#calls + 1] = "on" end)
    client:publish("t", "1", 1)
    peer:send("\64\2" .. id_of(peer:read(), "t"))
    support.entries(calls, 1)
    client:publish("t", "2", 1, 0, function() calls[#calls + 1] = "argument" end)
    peer:send("\64\2" .. id_of(peer:read(), "t"))
    support.entries(calls, 2)
    client:on("puback", nil)
    client:publish("t", "3", 1)
    peer:send("\64\2" .. id_of(peer:read(), "t"))
    kit.eventually(function() return client:pending() == 0 end)
    mqtt.poll()
    assert.are.same({ "on", "argument" }, calls)
  end)

  it("is dropped unrun when its call can never be answered", function()
    local calls = 0
    client:publish("t", "x", 1, 0, function() calls = calls + 1 end)
    local offline = false
    client:on("offline", function() offline = true end)
    peer:drop()
    kit.eventually(function() return offline end)
    kit.settle()
    assert.are.equal(0, calls)
  end)

  it("is not kept when publish refuses", function()
    local calls = {}
    local idle = support.client("refuses")
    idle:on("puback", function() calls[#calls + 1] = "kept" end)
    assert.is_false((idle:publish("t", "x", 1, 0, function() calls[#calls + 1] = "refused" end)))
  end)
end)

describe("callbacks = \"each\"", function()
  after_each(support.finish)

  it("runs each call's own callback once, before the event's", function()
    local client, peer = support.pair { callbacks = "each" }
    local calls = {}
    client:on("puback", function(_, id) calls[#calls + 1] = "on " .. tostring(id) end)
    client:publish("t", "1", 1, 0, function(_, id) calls[#calls + 1] = "first " .. id end)
    client:publish("t", "2", 1, 0, function(_, id) calls[#calls + 1] = "second " .. id end)
    client:publish("t", "3", 1)
    local ids = {}
    for i = 1, 3 do ids[i] = id_of(peer:read(), "t") end
    -- Whatever the order of the answers.
    peer:send("\64\2" .. ids[2] .. "\64\2" .. ids[1] .. "\64\2" .. ids[3])
    support.entries(calls, 5)
    assert.are.same({ "second 2", "on 2", "first 1", "on 1", "on 3" }, calls)
  end)

  it("gives each SUBSCRIBE its own result, refusals included", function()
    local client, peer = support.pair { callbacks = "each" }
    local calls = {}
    client:subscribe("a", 1, function(_, granted) calls[#calls + 1] = { "a", granted } end)
    client:subscribe("b", 1, function(_, granted) calls[#calls + 1] = { "b", granted } end)
    peer:send("\144\3" .. peer:read():sub(3, 4) .. "\128")
    peer:send("\144\3" .. peer:read():sub(3, 4) .. "\1")
    support.entries(calls, 2)
    assert.are.same({ { "a", { a = false } }, { "b", { b = 1 } } }, calls)
  end)

  it("gives each UNSUBSCRIBE its own", function()
    local client, peer = support.pair { callbacks = "each" }
    local calls = {}
    client:unsubscribe("a", function() calls[#calls + 1] = "a" end)
    client:unsubscribe("b", function() calls[#calls + 1] = "b" end)
    peer:send("\176\2" .. peer:read():sub(3, 4))
    peer:send("\176\2" .. peer:read():sub(3, 4))
    support.entries(calls, 2)
    assert.are.same({ "a", "b" }, calls)
  end)
end)

describe("client:pending", function()
  after_each(support.finish)

  it("counts messages and bytes that are accepted and not done", function()
    local client, peer = support.pair()
    assert.are.same({ 0, 0 }, { client:pending() })
    client:publish("t", "12345", 1)
    client:publish("t", "12345", 2)
    local messages, bytes = client:pending()
    assert.are.equal(2, messages)
    assert(bytes >= 2 * 5, bytes)
    local first, second = id_of(peer:read(), "t"), id_of(peer:read(), "t")
    peer:send("\64\2" .. first)
    kit.eventually(function() return client:pending() == 1 end)
    peer:send("\80\2" .. second)
    peer:read()
    peer:send("\112\2" .. second)
    kit.eventually(function() return client:pending() == 0 end)
    assert.are.same({ 0, 0 }, { client:pending() })
  end)
end)

describe("inflight", function()
  after_each(support.finish)

  it("bounds the messages under way at once", function()
    local client, peer = support.pair { inflight = 2 }
    for i = 1, 4 do client:publish("t", i, 1) end
    local first, second = peer:read(), peer:read()
    assert.is_true(peer:quiet())
    peer:send("\64\2" .. id_of(first, "t"))
    assert.are.equal("3", peer:read():sub(8))
    peer:send("\64\2" .. id_of(second, "t"))
    assert.are.equal("4", peer:read():sub(8))
  end)
end)
