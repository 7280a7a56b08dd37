-- client:close, and other ends of a connection.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local text, packet, hex = support.text, support.packet, support.hex

describe("client:close", function()
  after_each(support.finish)

  it("flushes, sends DISCONNECT, closes the socket, then runs offline", function()
    local client, peer = support.pair()
    local log = support.record(client)
    for i = 1, 3 do client:publish("t", i, 0) end
    assert.are.equal(0, select("#", client:close()))
    assert.are.equal("idle", client:state())
    for i = 1, 3 do assert.are.equal(hex(packet(0x30, text("t") .. i)), hex(peer:read())) end
    peer:expect_only_goodbye()
    support.entries(log, 1)
    kit.settle()
    assert.are.same({ { "offline" } }, log)
  end)

  it("gets its DISCONNECT through although input is unread", function()
    local broker = support.broker()
    local watcher = support.subscribed(support.connected(broker.port), "will/#", 0)
    local wills = {}
    watcher:on("message", function(_, topic) wills[#wills + 1] = topic end)
    for i = 1, 10 do
      local client = support.client("unread-" .. i)
      client:lwt("will/" .. i, "x")
      local offline = false
      client:on("offline", function() offline = true end)
      client:connect("127.0.0.1", broker.port, function(c)
        c:subscribe("noise", 0)
        for _ = 1, 100 do c:publish("noise", ("x"):rep(1000)) end
        c:close()
      end)
      kit.eventually(function() return offline end)
    end
    watcher:publish("will/end", "x")
    support.entries(wills, 1)
    assert.are.same({ "will/end" }, wills)
  end)

  it("waits for no acknowledgement", function()
    local client, peer = support.pair()
    client:publish("t", "x", 1)
    client:close()
    local offline = false
    client:on("offline", function() offline = true end)
    assert.are.equal(0x32, peer:read():byte())
    peer:expect_only_goodbye()
    kit.eventually(function() return offline end)
  end)

  it("runs nothing but offline from the call on", function()
    local client, peer = support.pair()
    local log = support.record(client)
    client:publish("t", "x", 1)
    local id = peer:read():sub(6, 7)
    peer:send(packet(0x30, text("m") .. "x") .. "\64\2" .. id)
    client:close()
    peer:expect_only_goodbye()
    support.entries(log, 1)
    kit.settle()
    assert.are.same({ { "offline" } }, log)
  end)

  it("sends nothing after DISCONNECT", function()
    -- of a session that is kept more may come, so the client listens until the broker hangs up
    local client, peer = support.pair { cleansession = 0 }
    client:close()
    peer:send(packet(0x32, text("m") .. "\0\7" .. "x"))
    client:publish("t", "late")
    peer:expect_only_goodbye()
  end)

  it("cancels an attempt silently", function()
    local peer = support.peer()
    local client = support.client("cancelled")
    local log = support.record(client)
    local function called() log[#log + 1] = "called" end
    client:connect("127.0.0.1", peer.port, called, called)
    peer:accept():read()
    client:close()
    assert.are.equal("idle", client:state())
    assert.is_true(peer:ended())
    kit.settle()
    assert.are.same({}, log)
    assert.is_true(mqtt.run(5))
  end)

  it("does nothing on an idle client, and nothing the second time", function()
    local client = support.client("idle")
    local log = support.record(client)
    client:close()
    client:close()
    kit.settle()
    assert.are.same({}, log)
    assert.are.equal("idle", client:state())

    local pair, peer = support.pair()
    log = support.record(pair)
    pair:close()
    pair:close()
    peer:expect_only_goodbye()
    support.entries(log, 1)
    kit.settle()
    assert.are.same({ { "offline" } }, log)
  end)

  it("ends the loop at once when the script had not heard of the connection yet", function()
    local broker = support.broker()
    support.can_take_less_than(0.5, function()
      local client = support.client()
      local log = support.record(client)
      client:connect("127.0.0.1", broker.port)
      while client:state() ~= "connected" do end -- luacheck: ignore 542
      client:close()
      assert.is_true(mqtt.run(5))
      assert.are.same({}, log)
    end)
  end)

  it("gives up after a second when the broker does not read", function()
    local client, peer = support.pair()
    local offline = false
    client:on("offline", function() offline = true end)
    for _ = 1, 20 do client:publish("t", ("x"):rep(1000000)) end
    client:close()
    kit.eventually(function() return offline end)
    peer:drop()
  end)

  it("lets the client connect again", function()
    local client, peer = support.pair()
    client:close()
    client:connect("127.0.0.1", peer.port)
    assert.are.equal(hex(support.DISCONNECT), hex(peer:read()))
    peer:welcome()
    kit.eventually(function() return client:state() == "connected" end)
  end)
end)

describe("what is left unacknowledged at close", function()
  after_each(support.finish)

  it("is dropped with cleansession 1", function()
    local client, peer = support.pair()
    client:publish("t", "x", 1)
    peer:read()
    client:close()
    kit.eventually(function() return client:pending() == 0 end)
    client:connect("127.0.0.1", peer.port)
    peer:welcome()
    kit.eventually(function() return client:state() == "connected" end)
    client:publish("t", "new")
    assert.are.equal(hex(packet(0x30, text("t") .. "new")), hex(peer:read()))
  end)

  it("is kept for the next connect with cleansession 0", function()
    local client, peer = support.pair { cleansession = 0 }
    client:publish("t", "one", 1)
    client:publish("t", "two", 2)
    local first, second = peer:read(), peer:read()
    client:close()
    assert.are.equal(2, (client:pending()))
    client:connect("127.0.0.1", peer.port)
    peer:welcome("\32\2\1\0")
    -- The same packets with DUP.
    assert.are.equal(hex("\58" .. first:sub(2)), hex(peer:read()))
    assert.are.equal(hex("\60" .. second:sub(2)), hex(peer:read()))
  end)
end)

describe("a lost connection", function()
  after_each(support.finish)

  it("runs offline once, whether the broker closes or resets", function()
    for _, linger in ipairs { false, true } do
      local client, peer = support.pair()
      local log = support.record(client)
      if linger then peer.link:setoption("linger", { on = true, timeout = 0 }) end
      peer:drop()
      support.entries(log, 1)
      kit.settle()
      assert.are.same({ { "offline" } }, log)
      assert.are.equal("idle", client:state())
    end
  end)
end)
