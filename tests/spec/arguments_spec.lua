-- Wrong arguments of every function, and what serves for what.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local support = require("tests.spec.support")

local function nop() end

-- What no message may show.
local SECRET = "hunter2"
local BAD_PEM = "-----BEGIN CERTIFICATE-----\n" .. SECRET .. "\n"
local EMPTY_PEM = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"

-- Rows of { arguments, number of the bad one, what the message says of it }.
local WRONG = {
  Client = {
    { { true }, 1, "string" },
    { { nop }, 1, "string" },
    { { ("x"):rep(65536) }, 1, "65535" },
    { { "a\0b" }, 1, "NUL" },
    { { "\255" }, 1, "UTF%-8" },
    { { "a", -1 }, 2, "0%.%.65535" },
    { { "a", 65536 }, 2, "0%.%.65535" },
    { { "a", "soon" }, 2, "number" },
    { { "a", {} }, 2, "number" },
    { { "a", 60, {} }, 3, "string" },
    { { "a", 60, "u\0" }, 3, "NUL" },
    { { "a", 60, "\255" }, 3, "UTF%-8" },
    { { "a", 60, "user", {} }, 4, "string" },
    { { "a", 60, "user", ("x"):rep(65536) }, 4, "65535" },
    { { "a", 60, nil, "password" }, 4, "user" },
    { { "a", 60, nil, nil, "maybe" }, 5, "0, 1 or a boolean" },
    { { "a", 60, nil, nil, 2 }, 5, "0, 1 or a boolean" },
    { { "a", 60, nil, nil, 1, "large" }, 6, "number" },
    { { "a", 60, nil, nil, 1, -1 }, 6, "" },
    { { { client = "a" } }, 1, "client" },
    { { { clientid = {} } }, 1, "clientid" },
    { { { keepalive = 65536 } }, 1, "keepalive" },
    { { { username = {} } }, 1, "username" },
    { { { password = "p" } }, 1, "password" },
    { { { cleansession = "maybe" } }, 1, "cleansession" },
    { { { max_message_length = {} } }, 1, "max_message_length" },
    { { { protocol = "5" } }, 1, "protocol" },
    { { { protocol = 4 } }, 1, "protocol" },
    { { { protocol = "3.1", clientid = ("x"):rep(24) } }, 1, "23" },
    { { { callbacks = "all" } }, 1, "callbacks" },
    { { { max_queue = -1 } }, 1, "max_queue" },
    { { { max_queue = "big" } }, 1, "max_queue" },
    { { { inflight = 0 } }, 1, "inflight" },
    { { { inflight = 65536 } }, 1, "inflight" },
    { { { resubscribe = "maybe" } }, 1, "resubscribe" },
    { { { connect_timeout = "soon" } }, 1, "connect_timeout" },
    { { { [1] = "a" } }, 1, "1" },
  },
  run = { { { "soon" }, 1, "number" }, { { {} }, 1, "number" } },
  poll = { { { "soon" }, 1, "number" }, { { nop }, 1, "number" } },
  wait = { { {}, 1, "function" }, { { 5 }, 1, "function" }, { { nop, "soon" }, 2, "number" } },
  log = { { { 5 }, 1, "function" }, { { {} }, 1, "function" } },
  trace = { { { 5 }, 1, "function" }, { { "x" }, 1, "function" } },
  matches = {
    { {}, 1, "string" },
    { { {}, "a" }, 1, "string" },
    { { "a" }, 2, "string" },
    { { "a", {} }, 2, "string" },
  },
}

local WRONG_METHOD = {
  lwt = {
    { {}, 1, "string" },
    { { {}, "gone" }, 1, "string" },
    { { "", "gone" }, 1, "topic" },
    { { "a/#", "gone" }, 1, "topic" },
    { { "\255", "gone" }, 1, "" },
    { { "a" }, 2, "string" },
    { { "a", {} }, 2, "string" },
    { { "a", ("x"):rep(65536) }, 2, "65535" },
    { { "a", "gone", 3 }, 3, "0%.%.2" },
    { { "a", "gone", "x" }, 3, "" },
    { { "a", "gone", 0, "maybe" }, 4, "" },
  },
  on = {
    { {}, 1, "" },
    { { "nonsense", nop }, 1, "nonsense" },
    { { {}, nop }, 1, "" },
    { { "connect", 1 }, 2, "function" },
    { { "message", "print" }, 2, "function" },
  },
  connect = {
    { {}, 1, "string" },
    { { {} }, 1, "string" },
    { { nop }, 1, "string" },
    { { "" }, 1, "" },
    { { "host:1883" }, 1, "" },
    { { "host", 0 }, 2, "1%.%.65535" },
    { { "host", 65536 }, 2, "1%.%.65535" },
    { { "host", -1 }, 2, "1%.%.65535" },
    { { "host", 1883.5 }, 2, "" },
    { { "host", "mqtt" }, 2, "number" },
    { { "host", {} }, 2, "number" },
    { { "host", 1883, "maybe" }, 3, "" },
    { { "host", 1883, 2 }, 3, "" },
    { { "host", 8883, { ca = "x" } }, 3, "ca" },
    { { "host", 8883, { "ca.pem" } }, 3, "1" },
    { { "host", 8883, { ca_cert = {} } }, 3, "'ca_cert': string" },
    { { "host", 8883, { ca_cert = "" } }, 3, "'ca_cert': cannot read" },
    { { "host", 8883, { ca_cert = "/no/such/file" } }, 3, "'ca_cert': cannot read the file.*/no/such/file" },
    { { "host", 8883, { ca_cert = BAD_PEM } }, 3, "'ca_cert': the PEM data is damaged" },
    { { "host", 8883, { ca_cert = EMPTY_PEM } }, 3, "'ca_cert': there is no certificate" },
    { { "host", 8883, { client_cert = BAD_PEM } }, 3, "'client_key' expected beside 'client_cert'" },
    { { "host", 8883, { client_key = BAD_PEM } }, 3, "'client_cert' expected beside 'client_key'" },
    { { "host", 8883, { client_cert = BAD_PEM, client_key = BAD_PEM } }, 3, "'client_cert': the PEM data is damaged" },
    { { "host", 8883, { client_cert = true, client_key = BAD_PEM } }, 3, "'client_cert': string" },
    { { "host", 8883, { server_name = "a b" } }, 3, "'server_name': \"a b\"" },
    { { "host", 8883, { server_name = {} } }, 3, "'server_name': string" },
    { { "host", 8883, { alpn = "mqtt" } }, 3, "'alpn': list" },
    { { "host", 8883, { alpn = { mqtt = true } } }, 3, "'alpn': list" },
    { { "host", 8883, { alpn = { {} } } }, 3, "'alpn': string" },
    { { "host", 8883, { alpn = { "" } } }, 3, "'alpn': .*1 to 255" },
    { { "host", 8883, { cipher_suites = 5 } }, 3, "'cipher_suites': list" },
    { { "host", 8883, { cipher_suites = {} } }, 3, "'cipher_suites': at least one" },
    { { "host", 8883, { cipher_suites = { "NULL" } } }, 3, "'cipher_suites': \"NULL\"" },
    { { "host", 8883, { cipher_suites = "TLS_AES_128_GCM_SHA256:NULL" } }, 3, "'cipher_suites': \"NULL\"" },
    { { "host", 8883, { psk_identity = "a" } }, 3, "'psk_key' expected beside 'psk_identity'" },
    { { "host", 8883, { psk_key = "00" } }, 3, "'psk_identity' expected beside 'psk_key'" },
    { { "host", 8883, { psk_identity = "a", psk_key = {} } }, 3, "'psk_key': string" },
    -- Without the feature psk that is what is wrong.
    { { "host", 8883, { psk_identity = "a", psk_key = SECRET } }, 3, "'psk_%w+': " },
    { { "host", 8883, { psk_identity = "", psk_key = "00" } }, 3, "'psk_identity': " },
    { { "host", 8883, { psk_identity = "a", psk_key = "00", ca_cert = BAD_PEM } }, 3, "'ca_cert': nothing beside psk" },
    { { "host", 8883, { psk_identity = "a", psk_key = "00", verify = false } }, 3, "'verify': nothing beside psk" },
    { { "host", 8883, { headers = "x" } }, 3, "'headers': table" },
    { { "host", 8883, { verify = "maybe" } }, 3, "'verify': 0, 1 or a boolean" },
    { { "wss://host", nil, { headers = { ["a b"] = "x" } } }, 3, "'headers': " },
    { { "wss://host", nil, { headers = { Host = "x" } } }, 3, "'headers': .*belongs to the handshake" },
    { { "ws://host", nil, { headers = { a = {} } } }, 3, "'headers': string" },
    { { "ws://host", nil, { headers = { a = SECRET .. "\r\nb: c" } } }, 3, "'headers': " },
    { { "ws://host", nil, { ca_cert = "ca.pem" } }, 3, "headers expected, got 'ca_cert'" },
    { { "mqtt://host", nil, { verify = false } }, 3, "headers expected, got 'verify'" },
    { { "wss://host", nil, 1 }, 3, "nothing or a table beside a URI" },
    { { "wss://host", 443 }, 2, "nothing beside a URI" },
    { { "ws://host/#x" }, 1, "path" },
    { { "ws://host/a b" }, 1, "path" },
    { { "host", 1883, 0, "maybe" }, 4, "" },
    { { "host", 1883, 0, 2 }, 4, "" },
    { { "host", 1883, 0, { min = 0.1 } }, 4, "min" },
    { { "host", 1883, 0, { max = 3601 } }, 4, "max" },
    { { "host", 1883, 0, { min = 5, max = 1 } }, 4, "max" },
    { { "host", 1883, 0, { min = 0 / 0 } }, 4, "min" },
    { { "host", 1883, 0, { minimum = 1 } }, 4, "minimum" },
    { { "host", 1883, 0, 0, 5 }, 5, "function" },
    { { "host", 1883, 0, 0, nop, 5 }, 6, "function" },
    { { "http://host" }, 1, "http" },
    { { "mqtt://" }, 1, "" },
    { { "mqtt://host:65536" }, 1, "" },
    { { "mqtt://host", 1883 }, 2, "" },
    { { "mqtt://host", nil, 0 }, 3, "" },
    { { "mqtt://host/path" }, 1, "" },
  },
  publish = {
    { {}, 1, "string" },
    { { {}, "x" }, 1, "string" },
    { { "", "x" }, 1, "" },
    { { "a/#", "x" }, 1, "wildcard" },
    { { "a/+/b", "x" }, 1, "wildcard" },
    { { "a\0b", "x" }, 1, "NUL" },
    { { "\255", "x" }, 1, "UTF%-8" },
    { { "\237\160\128", "x" }, 1, "UTF%-8" },
    { { ("x"):rep(65536), "x" }, 1, "65535" },
    { { "a" }, 2, "string" },
    { { "a", {} }, 2, "string" },
    { { "a", nop }, 2, "string" },
    { { "a", true }, 2, "string" },
    { { "a", "x", 3 }, 3, "0%.%.2" },
    { { "a", "x", -1 }, 3, "0%.%.2" },
    { { "a", "x", 0.5 }, 3, "" },
    { { "a", "x", "high" }, 3, "" },
    { { "a", "x", {} }, 3, "" },
    { { "a", "x", 0, "maybe" }, 4, "" },
    { { "a", "x", 0, 2 }, 4, "" },
    { { "a", "x", 0, 0, 5 }, 5, "function" },
    { { "a", "x", 0, 0, {} }, 5, "function" },
  },
  subscribe = {
    { {}, 1, "string" },
    { { nop }, 1, "string" },
    { { "" }, 1, "" },
    { { "a#" }, 1, "#" },
    { { "a/#/b" }, 1, "#" },
    { { "+a" }, 1, "%+" },
    { { "a\0b" }, 1, "NUL" },
    { { "\255" }, 1, "UTF%-8" },
    { { ("x"):rep(65536) }, 1, "65535" },
    { { {} }, 1, "" },
    { { { ["a#"] = 0 } }, 1, "#" },
    { { { a = 3 } }, 1, "" },
    { { { a = "high" } }, 1, "" },
    { { { a = 0, ["b#"] = 0 } }, 1, "b#" },
    { { "a", 3 }, 2, "0%.%.2" },
    { { "a", -1 }, 2, "0%.%.2" },
    { { "a", "high" }, 2, "" },
    { { "a", 0, 5 }, 3, "function" },
    { { { a = 0 }, 0, 5 }, 3, "function" },
  },
  unsubscribe = {
    { {}, 1, "string" },
    { { nop }, 1, "string" },
    { { "" }, 1, "" },
    { { "a#" }, 1, "#" },
    { { {} }, 1, "" },
    { { { ["a#"] = 0 } }, 1, "#" },
    { { "a", 5 }, 2, "function" },
  },
}

local WRONG_TMR = {
  alarm = {
    { { 0, "soon", 0, nop }, 2, "number" },
    { { 0, 100, 7, nop }, 3, "" },
    { { 0, 100, 0, 5 }, 4, "function" },
  },
  delay = { { { {} }, 1, "number" } },
}

-- Calls through a Lua function, so that the message has a place to name; no tail call.
local function call(f, ...)
  local result = f(...)
  return result
end

local function describe_row(name, row)
  local words = {}
  for i = 1, math.max(row[2], #row[1]) do
    local value = row[1][i]
    local word = type(value) == "string" and ("%q"):format(value) or tostring(value):gsub(": .*", "")
    words[i] = #word > 30 and #word .. " characters" or word
  end
  return ("%s(%s)"):format(name, table.concat(words, ", ")):gsub("[%c\128-\255]", "?")
end

local function last(arguments)
  local n = 0
  for i in pairs(arguments) do n = math.max(n, i) end
  return n
end

local unpack = rawget(_G, "unpack") or rawget(table, "unpack")

-- What the error of a wrong call has to look like.
local function check(name, row, f, self)
  local function wrong()
    if self then
      call(f, self, unpack(row[1], 1, last(row[1])))
    else
      call(f, unpack(row[1], 1, last(row[1])))
    end
  end
  local ok, message = pcall(wrong)
  assert.is_false(ok, "no error")
  assert.are.equal("string", type(message))
  assert.is_nil(message:find(SECRET, 1, true), "a secret is shown")
  local place, number, who, what = message:match("^(%S+:%d+): bad argument #(%d+) to '([^']*)' %((.+)%)$")
  assert(place, message)
  assert(place:find("arguments_spec.lua", 1, true), message)
  assert.are.equal(name, who, message)
  assert.are.equal(row[2], tonumber(number), message)
  assert(what:find(row[3]), message .. "\nshould contain " .. row[3])
end

describe("a wrong argument raises a plain string that names it:", function()
  after_each(support.finish)

  for name, rows in pairs(WRONG) do
    for _, row in ipairs(rows) do
      it("mqtt." .. describe_row(name, row), function() check(name, row, mqtt[name]) end)
    end
  end

  for name, rows in pairs(WRONG_METHOD) do
    for _, row in ipairs(rows) do
      it("client:" .. describe_row(name, row), function()
        local client = support.client("wrong")
        check(name, row, client[name], client)
        assert.are.equal("idle", client:state())
      end)
    end
  end

  for name, rows in pairs(WRONG_TMR) do
    for _, row in ipairs(rows) do
      it("tmr." .. describe_row(name, row), function() check(name, row, tmr[name]) end)
    end
  end
end)

describe("an empty client id with a session to keep", function()
  it("is an argument error in both forms", function()
    assert.error_matches(function()
      mqtt.Client("", 60, nil, nil, 0)
    end, "bad argument #%d to 'Client'")
    assert.error_matches(function()
      mqtt.Client { clientid = "", cleansession = 0 }
    end, "bad argument #1 to 'Client'")
  end)
end)

describe("a method on something else", function()
  local names = { "lwt", "on", "connect", "publish", "subscribe", "unsubscribe", "pending", "state", "close" }
  for _, name in ipairs(names) do
    it("says whose method it is: " .. name, function()
      local method = mqtt.Client("self")[name]
      for _, wrong in ipairs { {}, "x", 5, true, io.stdout } do
        local ok, message = pcall(function() call(method, wrong, "x") end)
        assert.is_false(ok)
        assert.are.equal("string", type(message))
        assert.matches("^%S+:%d+: calling '" .. name .. "' on bad self %(mqtt client expected", message)
      end
      local ok, message = pcall(function() call(method) end)
      assert.is_false(ok)
      assert.matches("calling '" .. name .. "' on bad self", message)
    end)
  end
end)

describe("an argument error", function()
  after_each(support.finish)

  it("names the method when the call goes through pcall", function()
    local client = support.client("pcalled")
    local ok, message = pcall(client.publish, client, "a/#", "x")
    assert.is_false(ok)
    assert.matches("bad argument #1 to 'publish' %(.+%)$", message)
  end)

  it("names the method under another name", function()
    local client = support.client("renamed")
    local send = client.publish
    local ok, message = pcall(send, client, "a", "x", 3)
    assert.is_false(ok)
    assert.matches("bad argument #3 to 'publish'", message)
  end)

  it("leaves a connected client as it was, and sends nothing", function()
    local client, peer = support.pair()
    for name, rows in pairs(WRONG_METHOD) do
      for _, row in ipairs(rows) do
        assert.is_false(pcall(client[name], client, unpack(row[1], 1, last(row[1]))), describe_row(name, row))
      end
    end
    assert.are.equal("connected", client:state())
    assert.are.same({ 0, 0 }, { client:pending() })
    client:close()
    peer:expect_only_goodbye()
  end)

  it("comes for a packet over the protocol's limit", function()
    local client, peer = support.pair()
    local whole = 268435455
    local ok, message = pcall(client.publish, client, "a", ("x"):rep(whole - 2))
    assert.is_false(ok)
    assert.matches("bad argument #2 to 'publish' %(.*268,?435,?455", message)
    client:close()
    peer:expect_only_goodbye()
  end)
end)

describe("numbers, strings and flags", function()
  after_each(support.finish)

  it("serve for each other as on the devices", function()
    local peer = support.peer()
    local client = support.client(17, "60", 4, 5, true)
    client:lwt(8, 9, "1", true)
    client:connect("127.0.0.1", tostring(peer.port), false, false)
    local connect = peer:welcome()
    assert.are.equal(
      support.packet(0x10, support.text("MQTT") .. "\4\238\0\60" .. support.text("17") .. support.text("8")
        .. support.text("9") .. support.text("4") .. support.text("5")),
      connect)
    mqtt.wait(function() return client:state() == "connected" end, 5)
    assert.is_true(client:publish(1, 2.5, "1", "1"))
    local expected = support.packet(0x33, support.text("1") .. "\0\1" .. "2.5")
    assert.are.equal(support.hex(expected), support.hex(peer:read()))
  end)
end)
