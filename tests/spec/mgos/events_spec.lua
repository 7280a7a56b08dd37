-- Handlers of events, cloud handlers, and who we are at CONNECT.

local mgos_mqtt = require("mgos_mqtt")
local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.mgos.support")

describe("the numbers of events", function()
  it("are the manual's", function()
    local expected = {
      EV_POLL = 0, EV_CLOSE = 5,
      EV_CONNACK = 202, EV_PUBLISH = 203, EV_PUBACK = 204, EV_SUBACK = 209, EV_UNSUBACK = 211,
    }
    for name, number in pairs(expected) do
      assert.equal(number, mgos_mqtt[name], name)
      assert.equal(number, require("api_mqtt")[name], name)
    end
  end)
end)

describe("add_global_handler", function()
  after_each(support.finish)

  it("hears of CONNACK, acknowledgements, SUBACK, UNSUBACK and CLOSE", function()
    local broker = support.broker()
    local conn = support.idle()
    local events = support.events(conn, "ud")
    conn:set_config(support.section(broker.port))
    assert.same({ 202, { code = 0, session_present = false }, "ud" }, support.entries(events, 1)[1])
    local first = conn:pub("t", "x", 1)
    assert.same({ 204, { packet_id = first }, "ud" }, support.entries(events, 2)[2])
    local second = conn:pub("t", "x", 2)
    assert.same({ 204, { packet_id = second }, "ud" }, support.entries(events, 3)[3])
    conn:sub("a", print)
    local suback = support.entries(events, 4)[4]
    assert.same({ 209, { 1 }, "a" }, { suback[1], suback[2].codes, suback[2].topic })
    assert.is_true(suback[2].packet_id > 0)
    conn:unsub("a")
    local unsuback = support.entries(events, 5)[5]
    assert.equal(211, unsuback[1])
    assert.is_true(unsuback[2].packet_id > suback[2].packet_id)
    conn:global_disconnect()
    assert.same({ 5, {}, "ud" }, support.entries(events, 6)[6])
  end)

  it("hears of session_present", function()
    local conn, peer = support.paired { clean_session = false }
    local events = support.events(conn)
    peer:drop()
    peer:welcome("\32\2\1\0")
    support.entries(events, 2)
    assert.same({ 202, { code = 0, session_present = true } }, events[2])
  end)

  it("hears of a refusal by its code, and of no end of what was not accepted", function()
    local broker = support.broker { faults = { connack = 5 } }
    local conn = support.idle()
    local events = support.events(conn)
    conn:set_config(support.section(broker.port))
    support.entries(events, 3)
    for n = 1, 3 do assert.same({ 202, { code = 5, session_present = false } }, events[n]) end
    broker:clear_faults()
    support.up(conn)
    conn:global_disconnect()
    kit.eventually(function() return events[#events][1] == 5 end)
    local closed = 0
    for _, event in ipairs(events) do closed = closed + (event[1] == 5 and 1 or 0) end
    assert.equal(1, closed)
  end)

  it("gets the messages that no subscription takes, and only those", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    local events, inbox = support.events(conn), support.inbox(conn, "taken")
    kit.eventually(function() return broker:subscriptions("spec").taken end)
    support.entries(events, 1) -- SUBACK
    broker:publish("taken", "x")
    support.entries(inbox, 1)
    broker:send_raw("spec", support.packet(0x33, support.text("other") .. "\1\2payload"))
    support.entries(events, 2)
    local data = { topic = "other", message = "payload", qos = 1, retain = true, packet_id = 258 }
    assert.same({ 203, data }, events[2])
    assert.equal(2, #events)
  end)

  it("does not hear of a SUBACK that global_subscribe's handler takes", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    local events = support.events(conn)
    local calls, handler = support.recorder()
    conn:global_subscribe("a", handler)
    support.entries(calls, 1)
    conn:sub("b", print)
    support.entries(events, 1)
    assert.equal("b", events[1][2].topic)
  end)

  it("calls the newest handler first", function()
    local broker = support.broker()
    local conn = support.idle()
    local order = {}
    for n = 1, 3 do
      conn:add_global_handler(function(_, ev) if ev == 202 then order[#order + 1] = n end end)
    end
    conn:set_config(support.section(broker.port))
    support.entries(order, 3)
    assert.same({ 3, 2, 1 }, order)
  end)

  it("hears of EV_POLL about once a second while connected", function()
    local clock = kit.clock()
    local broker = support.broker()
    local conn = support.idle()
    local polls = 0
    conn:add_global_handler(function(_, ev) if ev == mgos_mqtt.EV_POLL then polls = polls + 1 end end)
    conn:set_config(support.section(broker.port))
    support.up(conn)
    while mqtt.poll() > 0 do end -- luacheck: ignore 542
    for n = 1, 3 do
      clock:advance(1000)
      kit.eventually(function() return polls >= n end)
      assert.equal(n, polls)
    end
    clock:restore()
    conn:global_disconnect()
  end)
end)

describe("add_cloud_handler", function()
  after_each(support.finish)

  it("hears of attempts, connections, their ends and failures, as one word", function()
    local broker = support.broker()
    local conn = support.idle()
    local calls, handler = support.recorder()
    conn:add_cloud_handler(handler)
    conn:set_config(support.section(broker.port))
    support.entries(calls, 2)
    conn:global_disconnect()
    support.entries(calls, 3)
    conn:set_config(support.section(support.closed_port()))
    support.entries(calls, 5)
    local words = { "connecting", "connected", "disconnected", "connecting", "connect-error" }
    for n, word in ipairs(words) do assert.same({ n = 1, word }, calls[n]) end
  end)

  it("is silent where cloud_events is false", function()
    local broker = support.broker()
    local conn = support.idle()
    local cloud = support.cloud(conn)
    conn:set_config(support.section(broker.port, { cloud_events = false }))
    local events = support.events(conn)
    support.entries(events, 1)
    assert.same({}, cloud)
  end)

  it("works for the default connection", function()
    local broker = support.broker()
    local seen = {}
    mgos_mqtt.add_cloud_handler(function(event) seen[event] = true end)
    mgos_mqtt.configure { mqtt = support.section(broker.port) }
    kit.eventually(function() return seen.connected end)
    mgos_mqtt.global_disconnect()
    kit.eventually(function() return seen.disconnected end)
  end)
end)

describe("set_connect_fn", function()
  after_each(support.finish)

  it("is called when CONNECT is due, with what is to be sent, and decides what is sent", function()
    local peer, conn = support.peer(), support.idle()
    local calls, handler = support.recorder()
    conn:set_connect_fn(function(self, client_id, opts, ud)
      handler(self, client_id, {
        opts.user_name, opts.password, opts.keep_alive, opts.clean_session, opts.will_topic, opts.will_message,
      }, ud)
      opts.password = "token"
      opts.keep_alive = 7
      opts.will_topic = nil
      assert.is_true(self:send_handshake(client_id .. "-1", opts))
    end, "ud")
    conn:set_config(support.section(peer.port, { user = "u", pass = "old", will_topic = "w", will_message = "m" }))
    peer:accept()
    support.entries(calls, 1)
    assert.same({ n = 4, conn, "spec", { "u", "old", 60, true, "w", "m" }, "ud" }, calls[1])
    local expected = support.text("MQTT") .. "\4\194\0\7" .. support.text("spec-1")
      .. support.text("u") .. support.text("token")
    assert.equal(support.hex(expected), support.hex(peer:read():sub(3)))
    peer:send(support.CONNACK)
    support.up(conn)
  end)

  it("gives each connection its own token", function()
    local broker = support.broker { users = { device = "token-2" } }
    local conn = support.idle()
    local tokens = 0
    conn:set_connect_fn(function(self, client_id, opts)
      tokens = tokens + 1
      opts.user_name, opts.password = "device", "token-" .. tokens
      self:send_handshake(client_id, opts)
    end)
    local events = support.events(conn)
    conn:set_config(support.section(broker.port))
    support.up(conn)
    assert.equal(2, tokens)
    assert.same({ 4, 0 }, { support.entries(events, 2)[1][2].code, events[2][2].code })
  end)

  it("may answer later", function()
    local broker = support.broker()
    local conn = support.idle()
    local due
    conn:set_connect_fn(function(_, client_id, opts)
      due = function() return conn:send_handshake(client_id, opts) end
    end)
    conn:set_config(support.section(broker.port))
    kit.eventually(function() return due end)
    assert.is_false(conn:global_is_connected())
    assert.is_true(due())
    support.up(conn)
    assert.is_false(due())
  end)

  it("lets the attempt fail by its limit where it does not answer", function()
    local clock = kit.clock()
    local broker = support.broker()
    local conn = support.idle()
    local cloud, called = support.cloud(conn), 0
    conn:set_connect_fn(function() called = called + 1 end)
    conn:set_config(support.section(broker.port))
    kit.eventually(function() return called == 1 end)
    clock:advance(10000)
    kit.eventually(function() return cloud[2] == "connect-error" end)
    assert.same({}, broker:clients())
    clock:restore()
    conn:global_disconnect()
  end)

  it("is over with nil", function()
    local broker = support.broker()
    local conn = support.idle()
    conn:set_connect_fn(function() error("not to be called") end)
    conn:set_connect_fn(nil)
    conn:set_config(support.section(broker.port))
    support.up(conn)
  end)

  it("checks what it is answered", function()
    local conn = support.idle()
    assert.is_false(conn:send_handshake("x", {}))
    assert.error_matches(function() conn:send_handshake("x", { pass = "x" }) end,
      "bad argument #2 to 'send_handshake' %(one of user_name, password")
    assert.error_matches(function() conn:send_handshake("x", { keep_alive = -1 }) end,
      "bad argument #2 to 'send_handshake' %('keep_alive': integer 0..65535 expected, got %-1%)")
    assert.error_matches(function() conn:send_handshake("x", { password = "x" }) end, "'user_name': string expected")
    assert.error_matches(function() conn:send_handshake("", { clean_session = false }) end, "a client id expected")
  end)
end)
