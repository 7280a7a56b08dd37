-- Every function of the modules with every kind of wrong value in every place: a plain string that names the place, and
-- nothing has happened. What the messages say is the matter of arguments_spec.lua.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local brokers = require("mqtt.broker")
local kit = require("mqtt.test")
local support = require("tests.spec.support")
local wrong = require("tests.spec.wrong")

local unpack = rawget(_G, "unpack") or rawget(table, "unpack")

local nop, merge, without, sorted, torment, check, all_fail =
  wrong.nop, wrong.merge, wrong.without, wrong.sorted, wrong.torment, wrong.check, wrong.all_fail
local NAN, INF, TABLES, ODD, BOOLEANS, CALLABLE, BYTES, TEXT =
  wrong.NAN, wrong.INF, wrong.TABLES, wrong.ODD, wrong.BOOLEANS, wrong.CALLABLE, wrong.BYTES, wrong.TEXT
local INTEGER, QOS, FLAG, CALLBACK, SECONDS = wrong.INTEGER, wrong.QOS, wrong.FLAG, wrong.CALLBACK, wrong.SECONDS
local TOPIC, FILTER, PORT, HOST, EVENT, INTERVAL =
  wrong.TOPIC, wrong.FILTER, wrong.PORT, wrong.HOST, wrong.EVENT, wrong.INTERVAL

-- ---- The functions: a call that is right, and for each place the values that are wrong there ----

local VALID = { topic = "t", filter = "a", host = "127.0.0.1" }

local METHODS = {
  lwt = { { VALID.topic, "gone", 0, 0 }, { TOPIC, BYTES, QOS, FLAG } },
  on = { { "connect", nop }, { EVENT, CALLBACK } },
  publish = {
    { VALID.topic, "p", 0, 0, nop },
    { TOPIC, BYTES, without(QOS, "a function"), without(FLAG, "a function"), CALLBACK },
  },
  subscribe = { { VALID.filter, 0, nop }, { FILTER, without(QOS, "a function"), CALLBACK } },
  unsubscribe = { { VALID.filter, nop }, { FILTER, CALLBACK } },
  connect = {
    { VALID.host, 1, 0, 0, nop, nop },
    {
      HOST, without(PORT, "a function"), without(FLAG, "a function", unpack(TABLES)),
      without(FLAG, "a function", unpack(TABLES)), CALLBACK, CALLBACK,
    },
  },
}

local FUNCTIONS = {
  Client = {
    { "id", 60, "user", "password", 1, 1000 },
    {
      without(TEXT, unpack(TABLES)), merge(INTEGER, { ["65536"] = 65536 }), without(TEXT, "a function"),
      without(BYTES, "a function"), FLAG, without(INTEGER, "2^32"),
    },
  },
  run = { { 0 }, { SECONDS } },
  poll = { { 0 }, { SECONDS } },
  wait = { { function() return true end, 0 }, { CALLBACK, SECONDS } },
  log = { { nil }, { CALLBACK } },
  trace = { { nil }, { CALLBACK } },
  matches = { { "a", "a" }, { BYTES, BYTES } },
}

local TIMER = {
  alarm = { { 1000, 0, nop }, { INTERVAL, merge(INTEGER, { ["3"] = 3 }), CALLBACK } },
  register = { { 1000, 0, nop }, { INTERVAL, merge(INTEGER, { ["3"] = 3 }), CALLBACK } },
  interval = { { 1000 }, { INTERVAL } },
  start = { { true }, { FLAG } },
}

local BROKER = {
  publish = { { VALID.topic, "p", 0, 0 }, { TOPIC, BYTES, QOS, FLAG } },
  kill = { { "id" }, { TEXT } },
  send_raw = { { "id", "" }, { TEXT, BYTES } },
  faults = { { {} }, { without(merge(BYTES, { ["1"] = 1, ["''"] = "" }), unpack(TABLES)) } },
  next_faults = { { {} }, { without(merge(BYTES, { ["1"] = 1, ["''"] = "" }), unpack(TABLES)) } },
  client_faults = { { "id", {} }, { TEXT, without(merge(BYTES, { ["1"] = 1 }), unpack(TABLES)) } },
}

describe("a wrong value in any place", function()
  after_each(support.finish)

  it("is an error of the module's functions", function()
    assert.is_true(check(FUNCTIONS, mqtt) > 150)
  end)

  it("is an error of a client's methods, idle or connected, and the broker hears nothing of it", function()
    local idle = support.client("idle")
    assert.is_true(check(METHODS, idle, idle) > 300)
    assert.are.equal("idle", idle:state())
    local client, peer = support.pair()
    check(METHODS, client, client)
    assert.are.equal("connected", client:state())
    assert.are.same({ 0, 0 }, { client:pending() })
    client:close()
    peer:expect_only_goodbye()
  end)

  it("is an error while connecting and while away", function()
    local peer = support.peer()
    local client = support.client("connecting")
    client:connect("127.0.0.1", peer.port, 0, 1)
    check(METHODS, client, client)
    assert.are.equal("connecting", client:state())
    local connect = peer:welcome()
    assert.are.equal(support.text("connecting"), connect:sub(-12))
    kit.eventually(function() return client:state() == "connected" end)
    peer:drop()
    kit.eventually(function() return client:state() ~= "connected" end)
    check(METHODS, client, client)
    assert.are.same({ 0, 0 }, { client:pending() })
  end)

  it("is an error of timers, which stay as they are", function()
    local timer = tmr.create()
    check(TIMER, timer, timer)
    assert.is_nil(timer:state())
    timer:register(1000, tmr.ALARM_SEMI, nop)
    check(TIMER, timer, timer)
    assert.are.same({ false, tmr.ALARM_SEMI }, { timer:state() })
    timer:unregister()
    -- the older form, a number first
    for _, name in ipairs(sorted(TIMER)) do
      local base, places = TIMER[name][1], TIMER[name][2]
      local failed = torment(name, function(...) return tmr[name](0, ...) end, nil, { base, places }, 1)
      assert(#failed == 0, table.concat(failed, "\n"))
    end
    local id = without(merge(INTEGER, { ["7"] = 7 }), "a timer")
    for _, name in ipairs { "state", "stop", "unregister" } do
      local failed = torment(name, tmr[name], nil, { {}, { id } })
      assert(#failed == 0, table.concat(failed, "\n"))
    end
    local failed = torment("delay", tmr.delay, nil, { {}, { without(INTEGER, "0.5") } })
    assert(#failed == 0, table.concat(failed, "\n"))
  end)

  it("is an error of the test kit", function()
    local is_no_script = without(merge(BYTES, { ["1"] = 1 }), unpack(TABLES))
    local wrong_options = merge(is_no_script, {
      ["arguments that are no list"] = { args = 1 }, ["a broker that is none"] = { broker = "x" },
      ["globals that are none"] = { globals = true },
    })
    check({
      eventually = { { nop, 0 }, { CALLBACK, merge(SECONDS, { ["'1'"] = "1" }) } },
      run_script = { { "lua_examples/hello.lua" }, { merge(BYTES, { ["1"] = 1 }), wrong_options } },
    }, kit)
    local clock = kit.clock()
    local failed = torment("advance", clock.advance, clock, { { 0 }, {
      merge(SECONDS, { ["NaN"] = NAN, ["-1"] = -1, ["infinity"] = INF, ["1e308"] = 1e308 }),
    } })
    clock:restore()
    assert(#failed == 0, table.concat(failed, "\n"))
  end)

  it("is an error of the embedded broker, which goes on", function()
    local broker = support.broker()
    check(BROKER, broker, broker)
    local options = without(merge(BYTES, { ["1"] = 1, ["an unknown key"] = { prot = 1 } }), unpack(TABLES))
    local failed = torment("start", brokers.start, nil, { {}, { options } })
    assert(#failed == 0, table.concat(failed, "\n"))
    local client = support.connected(broker.port)
    support.subscribed(client, "a")
    assert.are.equal(0, #broker:received())
  end)
end)

describe("a table of options", function()
  after_each(support.finish)

  it("is refused for a wrong value under any key of mqtt.Client", function()
    all_fail("Client", mqtt.Client, {
      clientid = TEXT, keepalive = merge(INTEGER, { ["65536"] = 65536 }), username = without(TEXT, "a function"),
      cleansession = FLAG, protocol = merge(BYTES, { ["5"] = "5", ["''"] = "" }),
      callbacks = merge(BYTES, { ["''"] = "" }),
      inflight = merge(INTEGER, { ["0"] = 0, ["65536"] = 65536 }), resubscribe = FLAG,
      connect_timeout = SECONDS, max_queue = without(INTEGER, "2^32"), max_message_length = without(INTEGER, "2^32"),
      [1] = { ["a list"] = "x" }, [true] = { ["an odd key"] = 1 }, [nop] = { ["an odd key"] = 1 },
    })
  end)

  it("is refused for a wrong range of autoreconnect", function()
    local client = support.client("away")
    local seconds = merge(SECONDS, {
      ["NaN"] = NAN, ["0"] = 0, ["-1"] = -1, ["0.2"] = 0.2, ["3601"] = 3601, ["infinity"] = INF, ["-infinity"] = -INF,
    })
    all_fail("connect", function(options) client:connect("127.0.0.1", 1, 0, options) end,
      { min = seconds, max = seconds, average = { ["an unknown key"] = 1 }, [1] = { ["a list"] = 1 } })
    assert.are.equal("idle", client:state())
  end)

  it("is refused for a wrong value under any key of faults, and of the broker's options", function()
    local count = merge(INTEGER, { ["2^40 + 1"] = 2 ^ 40 + 1 })
    for _, name in ipairs { "2^32" } do count[name] = nil end
    local list = merge(BYTES, { ["''"] = "", ["1"] = 1, ["with a hole"] = { [1] = "puback", [3] = "puback" },
      ["by name"] = { puback = true }, ["with a table"] = { {} } })
    for _, name in ipairs(TABLES) do list[name] = nil end
    local packets = merge(list, { ["what a client sends"] = { "subscribe" }, ["no packet"] = { "pubdone" } })
    local faults = {
      connack = merge(INTEGER, { ["0"] = 0, ["6"] = 6 }), ignore_connect = FLAG, answer_connect = BYTES,
      session_present = FLAG, cut_after_bytes_received = count, cut_after_bytes_sent = count,
      cut_after_packets_received = count, cut_after_packets_sent = count, byte_by_byte = FLAG, deaf = FLAG,
      delay = merge(SECONDS, { ["NaN"] = NAN, ["-1"] = -1, ["3601"] = 3601, ["infinity"] = INF }),
      swallow = packets, duplicate = packets, refuse_filters = list, max_qos = QOS,
      dealy = { ["an unknown key"] = 1 }, [1] = { ["a list"] = "x" },
    }
    local broker = support.broker()
    all_fail("faults", function(given) broker:faults(given) end, faults)
    all_fail("next_faults", function(given) broker:next_faults(given) end, faults)
    all_fail("client_faults", function(given) broker:client_faults("id", given) end, faults)
    local users = without(merge(BYTES, { ["1"] = 1, ["a number"] = { u = {} }, ["odd names"] = { [nop] = "p" } }),
      unpack(TABLES))
    local retained = merge(users, { ["a wildcard"] = { ["a/#"] = "x" }, ["an empty topic"] = { [""] = "x" } })
    all_fail("start", brokers.start, {
      port = merge(INTEGER, { ["65536"] = 65536 }), max_in_flight = merge(count, { ["0"] = 0 }), max_queue = count,
      max_output = count, max_received = count, users = users, retained = retained,
      faults = { ["an unknown key"] = { dealy = 1 }, ["a wrong value"] = { deaf = 2 }, ["a string"] = "deaf" },
    })
    -- none of it is in force
    local client = support.connected(broker.port)
    support.subscribed(client, "a")
    assert.are.same({ a = 0 }, broker:subscriptions(broker:clients()[1]))
  end)

  it("is refused for a wrong value under any key of secure", function()
    local client = support.client("secure")
    local cert = "-----BEGIN CERTIFICATE-----\n"
    local pem = merge(BYTES, { ["''"] = "", ["no file"] = "/no/such/file", ["a folder"] = "/", ["cut"] = cert })
    local list = merge(BYTES, { ["1"] = 1, ["by name"] = { mqtt = true }, ["with a hole"] = { "mqtt", nil, "x" },
      ["a table in it"] = { {} }, ["text with U+0000"] = { "a\0b" } })
    for _, name in ipairs(TABLES) do list[name] = nil end
    local pairs_of_text = without(merge(BYTES, {
      ["1"] = 1, ["a table in it"] = { a = {} }, ["an odd name"] = { [nop] = "x" }, ["no name"] = { [""] = "x" },
      ["a line end"] = { a = "x\r\nb: c" },
    }), unpack(TABLES))
    local function connect(uri)
      return function(secure) client:connect(uri, nil, secure) end
    end
    local tls = {
      ca_cert = pem, client_cert = pem, client_key = pem, server_name = merge(TEXT, { ["''"] = "", ["a b"] = "a b" }),
      alpn = merge(list, { ["an empty name"] = { "" }, ["a long name"] = { ("x"):rep(256) } }),
      cipher_suites = merge(list, { ["none"] = {}, ["''"] = "", ["an unknown one"] = { "NULL" } }),
      psk_identity = BYTES, psk_key = BYTES, verify = FLAG, ca = { ["an unknown key"] = "x" },
      [1] = { ["a list"] = "x" },
    }
    all_fail("connect", connect("mqtts://127.0.0.1"), tls)
    all_fail("connect", connect("wss://127.0.0.1"), merge(tls, { headers = pairs_of_text }))
    all_fail("connect", connect("ws://127.0.0.1"), { headers = pairs_of_text, verify = { ["no TLS"] = true } })
    all_fail("connect", connect("mqtt://127.0.0.1"), { ca_cert = { ["no TLS"] = "x" } })
    assert.are.equal("idle", client:state())
  end)

  it("is refused for a wrong filter or QoS beside right ones", function()
    local client, peer = support.pair()
    for what, qos in pairs(QOS) do
      local ok, message = pcall(client.subscribe, client, { good = 0, bad = qos })
      assert(not ok and message:find("bad argument #1 to 'subscribe' (", 1, true), what)
    end
    for _, filters in ipairs { { [nop] = 1 }, { [true] = 1 }, { [""] = 1 }, { ["a#"] = 1, b = 1 }, { ["\0"] = 1 } } do
      assert.is_false(pcall(client.subscribe, client, filters))
      assert.is_false(pcall(client.unsubscribe, client, filters))
    end
    client:close()
    peer:expect_only_goodbye()
  end)
end)

describe("a wrong self", function()
  local selves = merge(ODD, BOOLEANS, CALLABLE, { ["nil"] = nil, ["a number"] = 1, ["a string"] = "x" })

  local function refuse(methods, names, kind)
    for _, name in ipairs(names) do
      for what, self in pairs(without(selves, "a " .. kind)) do
        local ok, message = pcall(methods[name], self, "a", "b")
        assert(not ok, name .. " takes " .. what)
        assert(type(message) == "string" and message:find(("calling '%s' on bad self (%s expected"):format(name,
          kind == "client" and "mqtt client" or kind), 1, true), tostring(message))
      end
      assert.is_false(pcall(methods[name]))
    end
  end

  it("is refused by every method of clients, timers and brokers", function()
    refuse(mqtt.Client("self"), { "lwt", "on", "connect", "publish", "subscribe", "unsubscribe", "pending", "state",
      "close" }, "client")
    refuse(tmr.create(), { "register", "start", "stop", "unregister", "alarm", "interval", "state" }, "timer")
    local broker = brokers.start()
    refuse(broker, { "stop", "restart", "publish", "received", "clear_received", "clients", "subscriptions", "accepted",
      "dropped", "kill", "send_raw", "faults", "next_faults", "client_faults", "clear_faults" }, "broker")
    broker:stop()
  end)
end)

describe("a client without a connection", function()
  after_each(support.finish)

  local function refuses(client)
    assert.are.equal("idle", client:state())
    for _, qos in ipairs { 0, 1, 2 } do
      assert.are.same({ false, "not connected" }, { client:publish("t", "p", qos) })
      assert.are.same({ false, "not connected" }, { client:subscribe("a", qos) })
    end
    assert.are.same({ false, "not connected" }, { client:subscribe { a = 1, b = 2 } })
    assert.are.same({ false, "not connected" }, { client:unsubscribe("a") })
    assert.are.same({ false, "not connected" }, { client:unsubscribe { a = 1 } })
    assert.are.same({ 0, 0 }, { client:pending() })
    client:lwt("w", "gone")
    client:close()
    client:close()
    assert.are.equal("idle", client:state())
  end

  it("refuses with a reason: new, failed, closed, closed while connecting, lost", function()
    local new = support.client("new")
    refuses(new)
    new:connect("127.0.0.1", support.closed_port(), 0, 1)
    kit.eventually(function() return new:state() == "idle" end)
    refuses(new)
    local client, peer = support.pair()
    client:close()
    refuses(client)
    assert.are.equal(support.hex(support.DISCONNECT), support.hex(peer:read()))
    client:connect("127.0.0.1", peer.port)
    client:close()
    refuses(client)
    local lost, other = support.pair()
    other:drop()
    kit.eventually(function() return lost:state() == "idle" end)
    refuses(lost)
  end)
end)

describe("a time limit that is no number of seconds", function()
  local function seconds_of(f, ...)
    local start = os.time()
    f(...)
    return os.time() - start
  end

  it("is none at all: NaN and negative ones return at once", function()
    for _, limit in ipairs { NAN, -NAN, -1, -INF, -1e308, -2 ^ 63, "-1", 5e-324, -0.0 } do
      local timer = tmr.create()
      timer:alarm(60000, tmr.ALARM_SINGLE, nop)
      assert.is_true(seconds_of(mqtt.run, limit) < 20)
      assert.is_true(seconds_of(mqtt.poll, limit) < 20)
      assert.is_true(seconds_of(mqtt.wait, nop, limit) < 20)
      timer:unregister()
    end
  end)

  it("is for ever: infinite and huge ones wait for what ends them", function()
    for _, limit in ipairs { INF, 1e308, 2 ^ 63, 2 ^ 64, 2 ^ 53, "1e400", "0x7fffffff" } do
      local done = false
      local function ring() tmr.create():alarm(1, tmr.ALARM_SINGLE, function() done = true end) end
      ring()
      assert.is_true(mqtt.run(limit))
      assert.is_true(done)
      done = false
      ring()
      assert.is_true(mqtt.poll(limit) > 0 or done)
      ring()
      assert.is_true(mqtt.wait(function() return done end, limit))
      mqtt.run(5)
    end
  end)
end)
