-- Messages that arrive, too long ones and malformed ones.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local text, packet, hex = support.text, support.packet, support.hex

describe("an incoming message", function()
  local client, peer, log

  before_each(function()
    client, peer = support.pair()
    log = {}
    client:on("message", function(...) log[#log + 1] = { n = select("#", ...), ... } end)
  end)
  after_each(support.finish)

  it("comes with the client, topic, data, qos, retain and dup", function()
    peer:send(packet(0x30, text("a/b") .. "zero"))
    peer:send(packet(0x33, text("a/b") .. "\0\7" .. "one"))
    peer:send(packet(0x3C, text("a/b") .. "\0\8" .. "two"))
    support.entries(log, 3)
    assert.are.same({
      { n = 6, client, "a/b", "zero", 0, false, false },
      { n = 6, client, "a/b", "one", 1, true, false },
      { n = 6, client, "a/b", "two", 2, false, true },
    }, log)
    assert.are.equal(hex("\64\2\0\7"), hex(peer:read()))
    assert.are.equal(hex("\80\2\0\8"), hex(peer:read()))
  end)

  it("has nil for an empty payload", function()
    peer:send(packet(0x30, text("a")))
    support.entries(log, 1)
    assert.are.same({ n = 6, client, "a", nil, 0, false, false }, log[1])
  end)

  it("keeps every byte of the payload", function()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    local payload = table.concat(bytes):rep(300)
    peer:send(packet(0x30, text("a") .. payload))
    support.entries(log, 1)
    assert.is_true(log[1][3] == payload)
  end)

  it("keeps its topic as it came, a byte order mark included", function()
    peer:send(packet(0x30, text("\239\187\191Zürich//") .. "x"))
    support.entries(log, 1)
    assert.are.equal("\239\187\191Zürich//", log[1][2])
  end)

  it("may arrive one byte at a time", function()
    local bytes = packet(0x32, text("topic") .. "\1\0" .. "payload")
    for i = 1, #bytes do
      peer:send(bytes:sub(i, i))
      kit.settle()
    end
    support.entries(log, 1)
    assert.are.same({ client, "topic", "payload", 1, false, false, n = 6 }, log[1])
  end)

  it("comes in the order it was sent", function()
    local bytes = {}
    for i = 1, 1000 do bytes[i] = packet(0x30, text("t" .. i % 7) .. i) end
    peer:send(table.concat(bytes))
    support.entries(log, 1000)
    for i = 1, 1000 do
      assert.are.equal("t" .. i % 7, log[i][2])
      assert.are.equal(tostring(i), log[i][3])
    end
  end)

  it("at QoS 2 is delivered once, however often it is repeated before PUBREL", function()
    local publish = packet(0x34, text("a") .. "\0\9" .. "x")
    peer:send(publish)
    assert.are.equal(hex("\80\2\0\9"), hex(peer:read()))
    peer:send(packet(0x3C, text("a") .. "\0\9" .. "x"))
    assert.are.equal(hex("\80\2\0\9"), hex(peer:read()))
    peer:send("\98\2\0\9")
    assert.are.equal(hex("\112\2\0\9"), hex(peer:read()))
    mqtt.poll()
    assert.are.equal(1, #log)
    peer:send(publish)
    support.entries(log, 2)
  end)

  it("is acknowledged when nobody listens", function()
    client:on("message", nil)
    peer:send(packet(0x32, text("a") .. "\0\7" .. "x"))
    assert.are.equal(hex("\64\2\0\7"), hex(peer:read()))
  end)
end)

describe("a malformed packet from the broker", function()
  after_each(support.finish)

  local MALFORMED = {
    ["a topic that is not UTF-8"] = packet(0x30, text("\255\254") .. "x"),
    ["a topic with a surrogate"] = packet(0x30, text("\237\160\128") .. "x"),
    ["a topic with a NUL"] = packet(0x30, text("a\0b") .. "x"),
    ["an empty topic"] = packet(0x30, text("") .. "x"),
    ["a topic with a wildcard"] = packet(0x30, text("a/#") .. "x"),
    ["a topic longer than the packet"] = packet(0x30, "\0\9abc"),
    ["QoS 3"] = packet(0x36, text("a") .. "\0\1x"),
    ["packet id 0"] = packet(0x32, text("a") .. "\0\0x"),
    ["a Remaining Length of five bytes"] = "\48\255\255\255\255\1",
    ["PUBACK with flags"] = "\65\2\0\1",
    ["PUBREL without its flags"] = "\96\2\0\1",
    ["the reserved packet type 0"] = "\0\0",
    ["the reserved packet type 15"] = "\240\0",
    ["a packet that only clients send"] = "\192\0",
    ["a second CONNACK"] = "\32\2\0\0",
  }
  for name, bytes in pairs(MALFORMED) do
    it("ends the connection: " .. name, function()
      local client, peer = support.pair()
      local log = support.record(client)
      peer:send(bytes)
      support.entries(log, 1)
      assert.are.same({ { "offline" } }, log)
      assert.is_true(peer:ended())
      assert.are.equal("idle", client:state())
    end)
  end

  it("is the last thing that is taken, also when more comes behind it while the loop waits", function()
    local broker = support.broker()
    local id = support.unique("violated")
    local client = support.connected(broker.port, { clientid = id })
    local log = support.record(client)
    broker:client_faults(id, { delay = 0.05 })
    broker:send_raw(id, MALFORMED["the reserved packet type 0"] .. ("\208\0"):rep(100000) .. packet(0x30, text("m")))
    support.entries(log, 1)
    kit.settle()
    assert.are.same({ { "offline" } }, log)
  end)
end)

describe("max_message_length", function()
  local LIMIT = 64
  local client, peer, log

  before_each(function()
    client, peer = support.pair { max_message_length = LIMIT }
    log = support.record(client, { "message", "overflow" })
  end)
  after_each(support.finish)

  -- A PUBLISH of exactly `size` bytes.
  local function publish(first, size, topic)
    local head = text(topic) .. (first == 0x30 and "" or "\0\7")
    local body = size - 2
    return packet(first, head .. ("0123456789"):rep(100):sub(1, body - #head))
  end

  it("lets pass what is just as large", function()
    peer:send(publish(0x30, LIMIT, "topic"))
    support.entries(log, 1)
    assert.are.equal("message", log[1][1])
    assert.are.equal(LIMIT - 2 - 7, #log[1][3])
  end)

  it("hands a larger one to overflow, with the part of the payload that lies below the limit", function()
    local bytes = publish(0x30, LIMIT + 1, "topic")
    peer:send(bytes)
    support.entries(log, 1)
    assert.are.same({ { "overflow", "topic", bytes:sub(10, LIMIT) } }, log)
  end)

  it("keeps a topic that is longer than the limit whole, and has no data then", function()
    local topic = ("t"):rep(100)
    peer:send(packet(0x30, text(topic) .. "payload"))
    support.entries(log, 1)
    assert.are.same({ { "overflow", topic } }, log)
  end)

  it("acknowledges what it cuts, and leaves the next message unharmed", function()
    peer:send(publish(0x32, 1000, "topic"))
    peer:send(packet(0x30, text("next") .. "whole"))
    support.entries(log, 2)
    assert.are.equal("overflow", log[1][1])
    assert.are.same({ "message", "next", "whole", 0, false, false }, log[2])
    assert.are.equal(hex("\64\2\0\7"), hex(peer:read()))
  end)

  it("discards a large one as it arrives", function()
    peer:send(packet(0x30, text("big") .. ("x"):rep(20 * 1000 * 1000)))
    peer:send(packet(0x30, text("next") .. "whole"))
    support.entries(log, 2)
    assert.are.equal(LIMIT - 1 - 4 - 2 - 3, #log[1][3])
    assert.are.equal("whole", log[2][3])
  end)
end)

describe("a packet that announces more than it sends", function()
  after_each(support.finish)

  it("costs no memory of that size", function()
    local function resident()
      for line in io.lines("/proc/self/status") do
        local kilobytes = line:match("^VmRSS:%s*(%d+)")
        if kilobytes then return tonumber(kilobytes) end
      end
    end
    local client, peer = support.pair()
    local before = resident()
    -- 268,435,455 bytes announced, a few sent.
    peer:send("\48\255\255\255\127" .. text("a") .. "x")
    kit.settle()
    assert(resident() - before < 20000)
    assert.are.equal("connected", client:state())
    local offline = false
    client:on("offline", function() offline = true end)
    peer:drop()
    kit.eventually(function() return offline end)
  end)
end)
