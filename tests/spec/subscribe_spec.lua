-- client:subscribe and client:unsubscribe: what they send and answer.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local text, packet, hex = support.text, support.packet, support.hex

-- Answers the next SUBSCRIBE with the codes; the packet.
local function suback(peer, codes)
  local subscribe = peer:read()
  peer:send(packet(0x90, subscribe:sub(3, 4) .. codes))
  return subscribe
end

describe("client:subscribe sends", function()
  local client, peer

  before_each(function() client, peer = support.pair() end)
  after_each(support.finish)

  local function expect(body, ...)
    assert.is_true(client:subscribe(...))
    assert.are.equal(hex(packet(0x82, body)), hex(peer:read()))
  end

  it("a filter, at QoS 0 by default", function() expect("\0\1" .. text("a/+/#") .. "\0", "a/+/#") end)

  it("a filter and a QoS", function() expect("\0\1" .. text("a") .. "\2", "a", 2) end)

  it("a shared subscription as such", function() expect("\0\1" .. text("$share/g/a") .. "\1", "$share/g/a", 1) end)

  it("a table in one packet", function()
    local filters = { a = 0, ["b/#"] = 1, ["c/+"] = 2 }
    assert.is_true(client:subscribe(filters))
    local body = peer:read():sub(3)
    assert.are.equal("\0\1", body:sub(1, 2))
    local seen, at = {}, 3
    while at <= #body do
      local length = body:byte(at) * 256 + body:byte(at + 1)
      seen[body:sub(at + 2, at + 1 + length)] = body:byte(at + 2 + length)
      at = at + 3 + length
    end
    assert.are.same(filters, seen)
  end)

  it("a table with a stray QoS behind it, which is ignored", function()
    expect("\0\1" .. text("a") .. "\1", { a = 1 }, 2)
    expect("\0\2" .. text("a") .. "\1", { a = 1 }, 0, function() end)
  end)

  it("one packet after the other, in order", function()
    for i = 1, 10 do assert.is_true(client:subscribe("t" .. i)) end
    for i = 1, 10 do
      assert.are.equal(hex(packet(0x82, "\0" .. string.char(i) .. text("t" .. i) .. "\0")), hex(peer:read()))
    end
  end)
end)

describe("client:unsubscribe sends", function()
  local client, peer

  before_each(function() client, peer = support.pair() end)
  after_each(support.finish)

  it("a filter", function()
    assert.is_true(client:unsubscribe("a/#"))
    assert.are.equal(hex(packet(0xA2, "\0\1" .. text("a/#"))), hex(peer:read()))
  end)

  it("the keys of a table in one packet", function()
    assert.is_true(client:unsubscribe { a = 0, b = "whatever" })
    local body = peer:read():sub(5)
    assert(body == text("a") .. text("b") or body == text("b") .. text("a"), hex(body))
  end)
end)

describe("client:subscribe and unsubscribe", function()
  after_each(support.finish)

  it("take a table of up to 65,535 filters, in one packet", function()
    local client, peer = support.pair()
    local filters = {}
    for i = 1, 65536 do filters[("%05d"):format(i)] = 0 end
    for _, name in ipairs { "subscribe", "unsubscribe" } do
      local ok, message = pcall(client[name], client, filters)
      assert.is_false(ok)
      assert.matches("#1 to '" .. name .. "' (at most 65535 filters expected, got 65536)", message, 1, true)
    end
    filters["00001"] = nil
    assert.is_true(client:subscribe(filters))
    assert.is_true(client:unsubscribe(filters))
    -- nothing but these two, of which each filter has 5 bytes and its length, and a QoS in the first
    assert.are.same({ 0x82, 2 + 65535 * 8 }, { (function(p) return p:byte(), #p - 4 end)(peer:read()) })
    assert.are.same({ 0xA2, 2 + 65535 * 7 }, { (function(p) return p:byte(), #p - 4 end)(peer:read()) })
  end)
end)

describe("client:subscribe and unsubscribe return false", function()
  after_each(support.finish)

  it("while not connected", function()
    local client = support.client("offline")
    assert.are.same({ false, "not connected" }, { client:subscribe("a", 0) })
    assert.are.same({ false, "not connected" }, { client:unsubscribe("a") })
    local peer = support.peer()
    client:connect("127.0.0.1", peer.port)
    assert.are.same({ false, "not connected" }, { client:subscribe("a", 0) })
    peer:welcome()
    kit.eventually(function() return client:state() == "connected" end)
    assert.is_true(client:subscribe("a", 0))
    client:close()
    assert.are.same({ false, "not connected" }, { client:subscribe("a", 0) })
    assert.are.same({ false, "not connected" }, { client:unsubscribe("a") })
  end)
end)

describe("the subscribe callback", function()
  local client, peer, calls

  before_each(function()
    client, peer = support.pair()
    calls = {}
  end)
  after_each(support.finish)

  local function note(name)
    return function(_, granted) calls[#calls + 1] = { name, granted } end
  end

  it("runs with the client and what was granted", function()
    local arguments
    client:subscribe("a", 2, function(...) arguments = { ... } end)
    suback(peer, "\1")
    kit.eventually(function() return arguments end)
    assert.are.same({ client, { a = 1 } }, arguments)
  end)

  it("hears of each filter of a table", function()
    client:subscribe({ a = 0, b = 1, c = 2 }, note("all"))
    local subscribe = peer:read()
    local codes = {}
    for filter in subscribe:sub(5):gmatch("[abc]") do
      codes[#codes + 1] = string.char(({ a = 0, b = 1, c = 2 })[filter])
    end
    peer:send(packet(0x90, subscribe:sub(3, 4) .. table.concat(codes)))
    support.entries(calls, 1)
    assert.are.same({ { "all", { a = 0, b = 1, c = 2 } } }, calls)
  end)

  it("given last serves all SUBACKs", function()
    client:subscribe("a", 0, note("first"))
    client:subscribe("b", 0, note("second"))
    client:subscribe("c", 0)
    for _ = 1, 3 do suback(peer, "\0") end
    support.entries(calls, 3)
    assert.are.same({ { "second", { a = 0 } }, { "second", { b = 0 } }, { "second", { c = 0 } } }, calls)
  end)

  it("does not run when the broker refused a filter, which is logged", function()
    local logged = {}
    mqtt.log(function(level, line) logged[#logged + 1] = level .. " " .. line end)
    client:subscribe("forbidden", 0, note("argument"))
    suback(peer, "\128")
    kit.eventually(function() return #logged > 0 end)
    assert.are.same({}, calls)
    assert.matches("warn client [^\n]*: the broker refused to subscribe forbidden$", logged[#logged])
  end)

  it("set by on runs for refusals too", function()
    client:on("suback", note("on"))
    client:subscribe("forbidden", 0)
    suback(peer, "\128")
    support.entries(calls, 1)
    assert.are.same({ { "on", { forbidden = false } } }, calls)
  end)

  it("is one slot: how it was set last decides", function()
    client:on("suback", note("on"))
    client:subscribe("a", 0, note("argument"))
    suback(peer, "\128")
    client:subscribe("b", 0)
    suback(peer, "\0")
    support.entries(calls, 1)
    assert.are.same({ { "argument", { b = 0 } } }, calls)
    client:on("suback", note("on"))
    client:subscribe("c", 0)
    suback(peer, "\128")
    support.entries(calls, 2)
    assert.are.same({ "on", { c = false } }, calls[2])
  end)

  it("is taken in the second place behind a table, and behind a QoS", function()
    client:subscribe({ a = 0 }, note("second"))
    suback(peer, "\0")
    support.entries(calls, 1)
    client:subscribe({ a = 0 }, 1, note("third"))
    suback(peer, "\0")
    support.entries(calls, 2)
    assert.are.same({ { "second", { a = 0 } }, { "third", { a = 0 } } }, calls)
  end)
end)

describe("the unsubscribe callback", function()
  after_each(support.finish)

  it("runs with the client, the last one for all", function()
    local client, peer = support.pair()
    local calls = {}
    client:unsubscribe("a", function() calls[#calls + 1] = "first" end)
    client:unsubscribe({ b = true }, function(...) calls[#calls + 1] = { ... } end)
    for _ = 1, 2 do peer:send("\176\2" .. peer:read():sub(3, 4)) end
    support.entries(calls, 2)
    assert.are.same({ { client }, { client } }, calls)
  end)

  it("is the slot of on(\"unsuback\")", function()
    local client, peer = support.pair()
    local calls = 0
    client:on("unsuback", function() calls = calls + 1 end)
    client:unsubscribe("a")
    peer:send("\176\2" .. peer:read():sub(3, 4))
    kit.eventually(function() return calls == 1 end)
  end)
end)

describe("a SUBACK that breaks the protocol", function()
  after_each(support.finish)

  local BROKEN = {
    ["has a code that does not exist"] = "\144\3%s\3",
    ["has fewer codes than filters"] = "\144\2%s",
    ["has more codes than filters"] = "\144\4%s\0\0",
  }
  for name, bytes in pairs(BROKEN) do
    it("and " .. name .. " ends the connection", function()
      local client, peer = support.pair()
      local log = support.record(client, { "offline", "suback" })
      client:subscribe("a", 0)
      local id = peer:read():sub(3, 4)
      peer:send((bytes:gsub("%%s", function() return id end)))
      support.entries(log, 1)
      assert.are.same({ { "offline" } }, log)
      assert.is_true(peer:ended())
    end)
  end
end)
