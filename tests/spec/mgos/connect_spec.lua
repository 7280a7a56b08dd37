-- Connections that a configuration drives: schedule, backup server, conn_create.

local mgos_mqtt = require("mgos_mqtt")
local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.mgos.support")

-- Waits for the n-th event of a list and returns it.
local function nth(list, n)
  return support.entries(list, n)[n]
end

describe("a connection", function()
  after_each(support.finish)

  it("is tried again after failures and losses, by itself", function()
    local broker = support.broker()
    broker:next_faults { connack = 3 }
    local conn = support.idle()
    local cloud = support.cloud(conn)
    conn:set_config(support.section(broker.port))
    support.up(conn)
    assert.same({ "connecting", "connect-error", "connecting", "connected" }, cloud)
    broker:kill("spec")
    support.entries(cloud, 7)
    assert.same({ "disconnected", "connecting", "connected" }, { cloud[5], cloud[6], cloud[7] })
  end)

  it("keeps mqtt.run running until it is ended", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    assert.is_false(mqtt.run(0.05))
    broker:stop()
    kit.eventually(function() return not conn:global_is_connected() end)
    assert.is_false(mqtt.run(0.1))
    conn:global_disconnect()
    assert.is_true(mqtt.run(5))
  end)

  it("reconnects while Lua does something else", function()
    local conn, peer = support.paired()
    peer:drop()
    peer:welcome() -- no loop runs here
    peer:send("\48\3\0\1t")
    local _ = conn
  end)

  it("turns to the backup server after the longest wait, and back when that fails", function()
    local main, backup = support.broker(), support.broker()
    local conn = support.conn(support.section(main.port), support.section(backup.port))
    local inbox = support.inbox(conn, "t")
    support.up(conn)
    assert.same({ "spec" }, main:clients())
    main:stop()
    kit.eventually(function() return #backup:clients() == 1 and conn:global_is_connected() end)
    -- handlers and messages have come along
    kit.eventually(function() return backup:subscriptions("spec").t end)
    backup:publish("t", "from the backup")
    assert.same({ "t", "from the backup" }, nth(inbox, 1))
    -- a drop there is retried there first
    main:restart()
    backup:kill("spec")
    kit.eventually(function() return backup:accepted() == 2 and conn:global_is_connected() end)
    assert.equal(1, main:accepted())
    backup:stop()
    kit.eventually(function() return main:accepted() == 2 and conn:global_is_connected() end)
  end)

  it("stays with a main server whose backup is not enabled", function()
    local main, backup = support.broker(), support.broker()
    local conn = support.conn(support.section(main.port), support.section(backup.port, { enable = false }))
    support.up(conn)
    main:stop()
    local cloud = support.cloud(conn)
    support.entries(cloud, 9)
    assert.equal(0, backup:accepted())
    main:restart()
    support.up(conn)
  end)

  it("takes unsent messages to the backup server, in order, once and without DUP", function()
    local main, backup = support.broker { faults = { swallow = { "PUBACK", "PUBREC" } } }, support.broker()
    local conn = support.conn(support.section(main.port), support.section(backup.port))
    support.up(conn)
    for n = 1, 4 do conn:pub("t", "m" .. n, 1 + n % 2) end
    kit.eventually(function() return #main:received() == 4 end)
    main:stop()
    conn:pub("t", "m5", 2)
    kit.eventually(function() return #backup:received() >= 5 and conn:num_unsent_bytes() == 0 end)
    assert.same({ "m1", "m2", "m3", "m4", "m5" }, support.payloads(backup, "t"))
    for _, message in ipairs(backup:received()) do assert.is_false(message.dup) end
  end)
end)

describe("the schedule", function()
  local clock

  before_each(function() clock = kit.clock() end)
  after_each(function()
    clock:restore()
    support.finish()
  end)

  -- The next attempt comes after a wait of so many seconds, give or take a tenth, and fails.
  local function expect_attempt(cloud, seconds)
    local before, passed, step = #cloud, 0, 0.05
    repeat
      clock:advance(step * 1000)
      passed = passed + step
      mqtt.poll()
    until #cloud > before or passed > 2 * seconds
    assert.equal("connecting", cloud[before + 1])
    -- of the step that ends a wait a part belongs to the next one
    local early, late = 0.9 * seconds - step, 1.1 * seconds + 2 * step
    assert.is_true(passed >= early and passed <= late, passed .. " instead of " .. seconds)
    assert.equal("connect-error", nth(cloud, before + 2))
  end

  it("is that of the manual: 2, 4, 8, 16, 32, 60 s, then the backup's, then the main server's again", function()
    local function dead() return "127.0.0.1:" .. support.closed_port() end
    local cloud = support.cloud(support.conn(
      { enable = true, server = dead() },
      { enable = true, server = dead(), reconnect_timeout_min = 1, reconnect_timeout_max = 3 }))
    assert.equal("connect-error", nth(cloud, 2))
    for _, wait in ipairs { 2, 4, 8, 16, 32, 60, 1, 2, 3, 2, 4 } do expect_attempt(cloud, wait) end
  end)
end)

describe("global_connect", function()
  after_each(support.finish)

  it("is false where nothing is configured or enabled", function()
    assert.is_false(support.idle():global_connect())
    assert.is_false(support.conn({ server = "h" }):global_connect())
  end)

  it("tries at once where an attempt waits for its time", function()
    local port = support.closed_port()
    local conn = support.idle()
    local cloud = support.cloud(conn)
    conn:set_config(support.section(port, { reconnect_timeout_min = 1000, reconnect_timeout_max = 1000 }))
    support.entries(cloud, 2)
    -- the wait begins right after the failure is told
    kit.eventually(function()
      assert.is_true(conn:global_connect())
      return #cloud >= 4
    end)
    assert.same({ "connecting", "connect-error" }, { cloud[3], cloud[4] })
  end)

  it("does nothing when connected", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    assert.is_true(conn:global_connect())
    kit.settle()
    assert.equal(1, broker:accepted())
  end)
end)

describe("global_disconnect", function()
  after_each(support.finish)

  it("sends DISCONNECT and stops until global_connect", function()
    local conn, peer = support.paired()
    local events = support.events(conn)
    conn:global_disconnect()
    assert.is_false(conn:global_is_connected())
    assert.equal(support.DISCONNECT, peer:read())
    assert.is_true(peer:ended())
    assert.equal(mgos_mqtt.EV_CLOSE, nth(events, 1)[1])
    assert.is_true(mqtt.run(5))
    assert.is_true(conn:global_connect())
    peer:welcome()
    support.up(conn)
  end)

  it("ends attempts too", function()
    local conn = support.conn(support.section(support.closed_port()))
    conn:global_disconnect()
    assert.is_true(mqtt.run(5))
  end)
end)

describe("get_global_conn", function()
  after_each(support.finish)

  it("is the connection while it is up, nil otherwise", function()
    local broker = support.broker()
    assert.is_nil(mgos_mqtt.get_global_conn())
    mgos_mqtt.configure { mqtt = support.section(broker.port) }
    kit.eventually(mgos_mqtt.global_is_connected)
    local conn = mgos_mqtt.get_global_conn()
    assert.equal("userdata", type(conn))
    assert.is_true(conn:global_is_connected())
    mgos_mqtt.global_disconnect()
    assert.is_nil(mgos_mqtt.get_global_conn())
  end)
end)

describe("set_config", function()
  after_each(support.finish)

  it("closes the connection and connects anew, never to be switched away from", function()
    local main, backup, other = support.broker(), support.broker(), support.broker()
    local conn = support.conn(support.section(main.port), support.section(backup.port))
    local events = support.events(conn)
    local inbox = support.inbox(conn, "t")
    support.up(conn)
    conn:set_config(support.section(other.port))
    kit.eventually(function() return other:subscriptions("spec").t end)
    assert.same({}, main:clients())
    support.entries(events, 3)
    other:stop()
    local cloud = support.cloud(conn)
    support.entries(cloud, 11)
    assert.same({ 0, 1 }, { backup:accepted(), main:accepted() })
    other:restart()
    support.up(conn)
    kit.eventually(function() return other:subscriptions("spec").t end)
    other:publish("t", "x")
    assert.same({ "t", "x" }, nth(inbox, 1))
  end)

  it("stops where the section is not enabled", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    conn:set_config { server = "h" }
    assert.is_false(conn:global_is_connected())
    assert.is_false(conn:global_connect())
    assert.is_true(mqtt.run(5))
  end)

  it("names the key that is wrong", function()
    local conn = support.idle()
    assert.error_matches(function() conn:set_config { keep_alive = "x" } end,
      "bad argument #1 to 'set_config' %(mqtt.keep_alive: integer 0..65535 expected, got string%)")
    assert.error_matches(function() conn:set_config() end, "bad argument #1 to 'set_config' %(table expected")
  end)

  it("inside a handler leaves the other handlers what they were to get", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    local large, seen = ("x"):rep(100000), {}
    conn:sub("t", function() conn:set_config(support.section(broker.port)) end)
    for n = 1, 3 do
      conn:sub("t", function(_, topic, message)
        collectgarbage()
        seen[n] = topic == "t" and message == large
      end)
    end
    kit.eventually(function() return broker:subscriptions("spec").t end)
    broker:publish("t", large)
    kit.eventually(function() return #seen == 3 end)
    assert.same({ true, true, true }, seen)
  end)

  it("inside a handler takes effect at once", function()
    local first, second = support.broker(), support.broker()
    local conn = support.idle()
    local moved = false
    conn:add_global_handler(function(_, ev)
      if ev == mgos_mqtt.EV_CONNACK and not moved then
        moved = true
        conn:set_config(support.section(second.port))
      end
    end)
    conn:set_config(support.section(first.port))
    kit.eventually(function() return #second:clients() == 1 and conn:global_is_connected() end)
    assert.is_true(moved)
  end)
end)

describe("conn_create", function()
  after_each(support.finish)

  it("makes connections that have nothing in common", function()
    local broker = support.broker()
    local one = support.linked(broker, { client_id = "one" })
    local two = support.linked(broker, { client_id = "two" })
    local inboxes = { support.inbox(one, "t"), support.inbox(two, "t") }
    kit.eventually(function() return broker:subscriptions("two").t and broker:subscriptions("one").t end)
    one:pub("t", "x")
    support.entries(inboxes[1], 1)
    support.entries(inboxes[2], 1)
    two:global_disconnect()
    assert.is_true(one:global_is_connected())
    kit.eventually(function() return #broker:clients() == 1 end)
    assert.same({ "one" }, broker:clients())
    assert.is_false(mgos_mqtt.global_is_connected())
  end)

  it("wants a number that no connection has, and sections that are right", function()
    assert.error_matches(function() mgos_mqtt.conn_create("x", {}) end,
      "bad argument #1 to 'conn_create' %(number expected, got string%)")
    local kept = mgos_mqtt.conn_create(4711, {})
    assert.error_matches(function() mgos_mqtt.conn_create(4711, {}) end,
      "bad argument #1 to 'conn_create' %(an id without a connection expected, got 4711%)")
    assert.error_matches(function() mgos_mqtt.conn_create(4712, {}, { servr = "x" }) end,
      "bad argument #3 to 'conn_create' %(mqtt1.servr: there is no such key%)")
    assert.truthy(kept)
  end)

  it("leaves what is not connected to the collector", function()
    local weak = setmetatable({}, { __mode = "k" })
    for n = 1, 20 do
      local conn = mgos_mqtt.conn_create(5000 + n, {})
      conn:sub("t", function() return conn end)
      conn:add_global_handler(function() return conn end)
      weak[conn] = true
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("keeps what is connected alive without a reference", function()
    local broker = support.broker()
    local seen = {}
    do
      local conn = mgos_mqtt.conn_create(6000, support.section(broker.port))
      conn:sub("t", function(self, _, message)
        seen[#seen + 1] = message
        self:global_disconnect()
      end)
    end
    collectgarbage()
    kit.eventually(function() return broker:subscriptions("spec").t end)
    collectgarbage()
    broker:publish("t", "x")
    support.entries(seen, 1)
    assert.is_true(mqtt.run(5))
  end)
end)
