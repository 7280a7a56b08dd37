-- Every function of the modules with every kind of wrong value in every place: a plain string that names the place, and
-- nothing has happened. What the messages say is the matter of arguments_spec.lua.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local brokers = require("mqtt.broker")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local unpack = rawget(_G, "unpack") or rawget(table, "unpack")

local function nop() end

local NAN, INF = 0 / 0, math.huge

-- ---- Wrong values by kind of argument: name -> value ----

local function merge(...)
  local all = {}
  for _, values in ipairs { ... } do
    for name, value in pairs(values) do all[name] = value end
  end
  return all
end

local function without(values, ...)
  local rest = merge(values)
  for _, name in ipairs { ... } do rest[name] = nil end
  return rest
end

local ODD = {
  ["a table"] = {},
  ["a table that raises"] = setmetatable({}, { __index = function() error("looked into", 0) end }),
  ["a thread"] = coroutine.create(nop),
  ["a file"] = io.stdout,
  ["a timer"] = tmr.create(),
  ["a client"] = mqtt.Client("odd"),
}
-- Those that serve where a table does: the second is looked into raw, and so it is an empty one.
local TABLES = { "a table", "a table that raises" }
local BOOLEANS = { ["true"] = true, ["false"] = false }
local CALLABLE = { ["a function"] = nop }
local NO_NUMBERS = { ["''"] = "", ["' '"] = " ", ["'x'"] = "x", ["'1x'"] = "1x", ["'\\0'"] = "\0", ["'--1'"] = "--1" }
local NO_INTEGERS = {
  ["NaN"] = NAN, ["-NaN"] = -NAN, ["infinity"] = INF, ["-infinity"] = -INF, ["0.5"] = 0.5, ["-1"] = -1,
  ["2^32"] = 2 ^ 32, ["2^53"] = 2 ^ 53, ["2^63"] = 2 ^ 63, ["-2^63"] = -2 ^ 63, ["2^64"] = 2 ^ 64, ["1e308"] = 1e308,
  ["'1e400'"] = "1e400", ["'-1'"] = "-1",
}
local NO_TEXT = { ["text with U+0000"] = "a\0b", ["no UTF-8"] = "\255\254", ["half a character"] = "a\195" }

local BYTES = merge(ODD, BOOLEANS, CALLABLE)
local TEXT = merge(BYTES, NO_TEXT)
local INTEGER = merge(ODD, BOOLEANS, CALLABLE, NO_NUMBERS, NO_INTEGERS)
local QOS = merge(INTEGER, { ["3"] = 3, ["'3'"] = "3" })
local FLAG = merge(ODD, CALLABLE, NO_NUMBERS, NO_INTEGERS, { ["2"] = 2, ["'2'"] = "2" })
local CALLBACK = merge(ODD, BOOLEANS, { ["0"] = 0, ["1"] = 1, ["''"] = "", ["'print'"] = "print", ["NaN"] = NAN })
local SECONDS = merge(ODD, BOOLEANS, CALLABLE, NO_NUMBERS)
local TOPIC = merge(TEXT, {
  ["''"] = "", ["#"] = "#", ["+"] = "+", ["a/#"] = "a/#", ["a/+/b"] = "a/+/b", ["a+"] = "a+",
  ["a surrogate"] = "\237\160\128", ["an overlong /"] = "\192\175", ["65,536 bytes"] = ("x"):rep(65536),
})
local FILTER = merge(TEXT, {
  ["''"] = "", ["a#"] = "a#", ["#/a"] = "#/a", ["a/#/b"] = "a/#/b", ["a+"] = "a+", ["+a/b"] = "+a/b", ["##"] = "##",
  ["$share/g"] = "$share/g", ["$share//a"] = "$share//a", ["$share/+/a"] = "$share/+/a",
  ["65,536 bytes"] = ("x"):rep(65536),
})
local PORT = merge(INTEGER, { ["0"] = 0, ["65536"] = 65536, ["'0'"] = "0" })
local HOST = merge(TEXT, {
  ["''"] = "", ["a:1"] = "a:1", ["mqtt://"] = "mqtt://", ["x://a"] = "x://a", ["mqtt://a:0"] = "mqtt://a:0",
})
local EVENT = merge(BYTES, { ["''"] = "", ["an unknown event"] = "messages", ["CONNECT"] = "CONNECT", ["0"] = 0 })
local INTERVAL = merge(INTEGER, { ["0"] = 0 })

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

local function sorted(values)
  local names = {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- Calls `f(self, ...)` (or without self) with each wrong value in each place; a list of what went wrong with that, and
-- how many calls there were.
local function torment(name, f, self, signature, shift)
  local base, places = signature[1], signature[2]
  local wrong, calls = {}, 0
  for place = 1, #places do
    for _, what in ipairs(sorted(places[place])) do
      local arguments = { unpack(base, 1, #places) }
      arguments[place] = places[place][what]
      local ok, message
      if self ~= nil then
        ok, message = pcall(f, self, unpack(arguments, 1, #places))
      else
        ok, message = pcall(f, unpack(arguments, 1, #places))
      end
      calls = calls + 1
      local expected = ("bad argument #%d to '%s' ("):format(place + (shift or 0), name)
      if ok or type(message) ~= "string" or not message:find(expected, 1, true) then
        local _, said = pcall(tostring, message)
        wrong[#wrong + 1] = ("%s, #%d is %s: %s %s"):format(name, place, what, tostring(ok), said)
      end
    end
  end
  return wrong, calls
end

local function check(set, owner, self)
  local calls = 0
  for _, name in ipairs(sorted(set)) do
    local wrong, count = torment(name, owner[name], self, set[name])
    assert(#wrong == 0, table.concat(wrong, "\n"))
    calls = calls + count
  end
  return calls
end

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
    assert.are.equal(support.hex(support.DISCONNECT), support.hex(peer:read()))
    assert.is_true(peer:ended())
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
      local wrong = torment(name, function(...) return tmr[name](0, ...) end, nil, { base, places }, 1)
      assert(#wrong == 0, table.concat(wrong, "\n"))
    end
    local id = without(merge(INTEGER, { ["7"] = 7 }), "a timer")
    for _, name in ipairs { "state", "stop", "unregister" } do
      local wrong = torment(name, tmr[name], nil, { {}, { id } })
      assert(#wrong == 0, table.concat(wrong, "\n"))
    end
    local wrong = torment("delay", tmr.delay, nil, { {}, { without(INTEGER, "0.5") } })
    assert(#wrong == 0, table.concat(wrong, "\n"))
  end)

  it("is an error of the embedded broker, which goes on", function()
    local broker = support.broker()
    check(BROKER, broker, broker)
    local options = without(merge(BYTES, { ["1"] = 1, ["an unknown key"] = { prot = 1 } }), unpack(TABLES))
    local wrong = torment("start", brokers.start, nil, { {}, { options } })
    assert(#wrong == 0, table.concat(wrong, "\n"))
    local client = support.connected(broker.port)
    support.subscribed(client, "a")
    assert.are.equal(0, #broker:received())
  end)
end)

describe("a table of options", function()
  after_each(support.finish)

  local function all_fail(name, call, rows)
    for key, values in pairs(rows) do
      for what, value in pairs(values) do
        local ok, message = pcall(call, { [key] = value })
        assert(not ok, ("%s of %s is accepted as %s"):format(what, name, tostring(key)))
        assert.are.equal("string", type(message))
        assert(message:find(("to '%s' ("):format(name), 1, true), tostring(key) .. ": " .. message)
      end
    end
  end

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
    assert.are.equal(support.hex(support.DISCONNECT), support.hex(peer:read()))
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
