-- client:connect: its arguments, addresses, callbacks and reasons.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

-- A callback that appends its name to the log.
local function note(log, name)
  return function() log[#log + 1] = name end
end

describe("client:connect takes", function()
  local broker, log, client

  before_each(function()
    broker = support.broker()
    log = {}
    client = support.client("shapes")
  end)
  after_each(support.finish)

  -- Calls connect with what `arguments` gives, and waits for ok.
  local function expect_ok(...)
    assert.is_true(client:connect(...))
    kit.eventually(function() return #log > 0 end)
    assert.are.same({ "ok" }, log)
    assert.are.equal("connected", client:state())
  end

  it("host and port", function()
    client:on("connect", note(log, "ok"))
    expect_ok("127.0.0.1", broker.port)
  end)

  it("host, port, secure", function()
    client:on("connect", note(log, "ok"))
    expect_ok("127.0.0.1", broker.port, 0)
  end)

  it("host, port, secure, autoreconnect", function()
    client:on("connect", note(log, "ok"))
    expect_ok("127.0.0.1", broker.port, 0, 1)
  end)

  it("host, port, ok", function() expect_ok("127.0.0.1", broker.port, note(log, "ok")) end)

  it("host, port, ok, nok", function()
    expect_ok("127.0.0.1", broker.port, note(log, "ok"), note(log, "nok"))
  end)

  it("host, port, secure, ok", function() expect_ok("127.0.0.1", broker.port, 0, note(log, "ok")) end)

  it("host, port, secure, ok, nok", function()
    expect_ok("127.0.0.1", broker.port, 0, note(log, "ok"), note(log, "nok"))
  end)

  it("host, port, secure, autoreconnect, ok", function()
    expect_ok("127.0.0.1", broker.port, 0, 1, note(log, "ok"))
  end)

  it("host, port, secure, autoreconnect, ok, nok", function()
    expect_ok("127.0.0.1", broker.port, 0, 1, note(log, "ok"), note(log, "nok"))
  end)

  it("nil for what is not given", function()
    expect_ok("127.0.0.1", broker.port, nil, nil, note(log, "ok"), nil)
  end)

  it("booleans and numbers in strings", function()
    expect_ok("127.0.0.1", tostring(broker.port), false, true, note(log, "ok"))
  end)

  it("limits of the backoff", function()
    expect_ok("127.0.0.1", broker.port, 0, { min = 0.25, max = 3600 }, note(log, "ok"))
  end)

  it("a host name", function() expect_ok("localhost", broker.port, note(log, "ok")) end)

  it("a uri", function() expect_ok("mqtt://127.0.0.1:" .. broker.port, nil, nil, nil, note(log, "ok")) end)

  it("a uri and a callback behind it", function()
    expect_ok("mqtt://127.0.0.1:" .. broker.port, note(log, "ok"))
  end)
end)

describe("a uri", function()
  after_each(support.finish)

  it("may hold a user name and a password, which replace the client's for this connect", function()
    local peer = support.peer()
    local client = support.client("id", 60, "user", "password")
    client:connect("mqtt://us%40er:pa%00ss@127.0.0.1:" .. peer.port)
    local expected = support.text("us@er") .. support.text("pa\0ss")
    assert.are.equal(support.hex(expected), support.hex(peer:welcome():sub(-#expected)))
    client:connect("127.0.0.1", peer.port)
    expected = support.text("user") .. support.text("password")
    assert.are.equal(support.hex(expected), support.hex(peer:welcome():sub(-#expected)))
  end)

  it("has an IPv6 address in brackets, a host has none", function()
    local port = support.closed_port()
    for host, separate in pairs { ["mqtt://[::1]:" .. port] = false, ["::1"] = port } do
      local reason
      support.client("id"):connect(host, separate or nil, function() end, function(_, r) reason = r end)
      kit.eventually(function() return reason end)
      assert.are.equal(mqtt.CONN_FAIL_SERVER_NOT_FOUND, reason)
    end
  end)
end)

describe("client:connect finds nok", function()
  local port, log, client

  before_each(function()
    port = support.closed_port()
    log = {}
    client = support.client("shapes")
  end)
  after_each(support.finish)

  local function expect_nok(...)
    assert.is_true(client:connect(...))
    kit.eventually(function() return #log > 0 end)
    assert.are.same({ "nok" }, log)
    assert.are.equal("idle", client:state())
  end

  it("behind ok", function() expect_nok("127.0.0.1", port, note(log, "ok"), note(log, "nok")) end)

  it("in the fifth place when ok is in the fourth", function()
    expect_nok("127.0.0.1", port, 0, note(log, "ok"), note(log, "nok"))
  end)

  it("in the sixth place", function()
    expect_nok("127.0.0.1", port, 0, 0, note(log, "ok"), note(log, "nok"))
  end)

  it("in the sixth place when the fifth is nil", function()
    expect_nok("127.0.0.1", port, 0, 0, nil, note(log, "nok"))
  end)
end)

describe("the callbacks of a connect", function()
  after_each(support.finish)

  it("are ok, then on(\"connect\"), with the client and session_present", function()
    local peer = support.peer()
    local client = support.client("id", 60, nil, nil, 0)
    local log = {}
    client:on("connect", function(...) log[#log + 1] = { "on", select("#", ...), ... } end)
    client:connect("127.0.0.1", peer.port, function(...) log[#log + 1] = { "ok", select("#", ...), ... } end)
    peer:welcome("\32\2\1\0")
    support.entries(log, 2)
    assert.are.same({ { "ok", 2, client, true }, { "on", 2, client, true } }, log)
  end)

  it("are nok, then on(\"connfail\"), with the client, the reason and a detail for people", function()
    local client = support.client("id")
    local log = {}
    client:on("connfail", function(...) log[#log + 1] = { "on", select("#", ...), ... } end)
    client:connect("127.0.0.1", support.closed_port(), nil, function() end,
      function(...) log[#log + 1] = { "nok", select("#", ...), ... } end)
    support.entries(log, 2)
    local detail = log[1][5]
    assert.are.equal("string", type(detail))
    assert.are.same({ { "nok", 3, client, -5, detail }, { "on", 3, client, -5, detail } }, log)
    kit.settle()
    assert.are.equal(2, #log)
  end)

  it("run once: the next connect has its own", function()
    local broker = support.broker()
    local client = support.client("once")
    local log = {}
    client:connect("127.0.0.1", broker.port, note(log, "first"))
    support.entries(log, 1)
    client:close()
    kit.eventually(function() return client:state() == "idle" end)
    client:on("connect", note(log, "on"))
    client:connect("127.0.0.1", broker.port)
    support.entries(log, 2)
    assert.are.same({ "first", "on" }, log)
  end)

  it("never run inside connect itself", function()
    local broker = support.broker()
    local log = {}
    local client = support.client("inside")
    client:connect("127.0.0.1", broker.port, note(log, "ok"))
    assert.are.same({}, log)
    assert.are.equal("connecting", client:state())
    support.entries(log, 1)
  end)
end)

describe("the reason of a failed connect", function()
  after_each(support.finish)

  -- Runs one attempt; answer(peer) plays the broker. Returns reason and detail.
  local function reason_of(answer, options)
    local peer = support.peer()
    options = options or {}
    options.clientid = "id"
    local client = support.client(options)
    local reason, detail, calls = nil, nil, 0
    client:on("offline", function() calls = calls + 1 end)
    client:connect("127.0.0.1", peer.port, 0, 1, function() calls = calls + 1 end, function(_, r, d)
      reason, detail, calls = r, d, calls + 1
    end)
    if answer then answer(peer) end
    kit.eventually(function() return reason end)
    assert.are.equal("idle", client:state())
    -- Nothing else runs for the attempt, and a first connect is not retried.
    kit.settle()
    assert.are.equal(1, calls)
    return reason, detail, peer
  end

  local REFUSALS = {
    CONNACK_REFUSED_PROTOCOL_VER = 1, CONNACK_REFUSED_ID_REJECTED = 2, CONNACK_REFUSED_SERVER_UNAVAILABLE = 3,
    CONNACK_REFUSED_BAD_USER_OR_PASS = 4, CONNACK_REFUSED_NOT_AUTHORIZED = 5,
  }
  for name, code in pairs(REFUSALS) do
    it(("is %s for return code %d, and the client hangs up"):format(name, code), function()
      local reason, _, peer = reason_of(function(peer) peer:welcome("\32\2\0" .. string.char(code)) end)
      assert.are.equal(code, mqtt[name])
      assert.are.equal(code, reason)
      assert.is_true(peer:ended())
    end)
  end

  local NOT_A_CONNACK = {
    ["another packet"] = "\208\0",
    ["a PUBLISH"] = "\48\5\0\1axy",
    ["a CONNACK of the wrong length"] = "\32\3\0\0\0",
    ["a CONNACK with wrong flags"] = "\33\2\0\0",
    ["a return code above 5"] = "\32\2\0\6",
    ["bytes that are no packet"] = "\255\255\255\255\255\255",
  }
  for name, bytes in pairs(NOT_A_CONNACK) do
    it("is CONN_FAIL_NOT_A_CONNACK_MSG for " .. name, function()
      local reason, _, peer = reason_of(function(peer) peer:welcome(bytes) end)
      assert.are.equal(-4, mqtt.CONN_FAIL_NOT_A_CONNACK_MSG)
      assert.are.equal(-4, reason)
      assert.is_true(peer:ended())
    end)
  end

  it("is CONN_FAIL_NOT_A_CONNACK_MSG when the broker closes before CONNACK", function()
    local reason = reason_of(function(peer)
      peer:accept():read()
      peer:drop()
    end)
    assert.are.equal(-4, reason)
  end)

  it("is CONN_FAIL_TIMEOUT_RECEIVING when no CONNACK comes", function()
    local reason = reason_of(function(peer) peer:accept():read() end, { connect_timeout = 0.1 })
    assert.are.equal(-2, mqtt.CONN_FAIL_TIMEOUT_RECEIVING)
    assert.are.equal(-2, reason)
  end)

  it("is CONN_FAIL_SERVER_NOT_FOUND when nothing listens", function()
    local client = support.client("id")
    local reason
    client:connect("127.0.0.1", support.closed_port(), nil, nil, nil, function(_, r) reason = r end)
    kit.eventually(function() return reason end)
    assert.are.equal(-5, mqtt.CONN_FAIL_SERVER_NOT_FOUND)
    assert.are.equal(-5, reason)
  end)

  it("is CONN_FAIL_DNS when the name does not resolve", function()
    local client = support.client { clientid = "id", connect_timeout = 2 }
    local reason, detail
    -- RFC 6761: no resolver knows a name under .invalid.
    client:connect("no.such.host.invalid", 1883, nil, nil, nil, function(_, r, d) reason, detail = r, d end)
    kit.eventually(function() return reason end)
    assert.are.equal(-3, mqtt.CONN_FAIL_DNS)
    assert.are.equal(-3, reason)
    assert.matches("no.such.host.invalid", detail, 1, true)
  end)

  it("never connects in clear what asks for security", function()
    local hello = "^\22\3" -- a TLS record with a handshake
    for _, arguments in ipairs {
      { "127.0.0.1", "port", 1, hello }, { "127.0.0.1", "port", true, hello }, { "127.0.0.1", "port", {}, hello },
      { "mqtts://127.0.0.1:", nil, nil, hello }, { "ws://127.0.0.1:", nil, nil, "^GE" },
      { "wss://127.0.0.1:", nil, nil, hello },
    } do
      local peer = support.peer()
      local client = support.client("id")
      local host, port = arguments[1], peer.port
      if not arguments[2] then host, port = host .. port, nil end
      local up, reason = false, nil
      client:connect(host, port, arguments[3], 0, function() up = true end, function(_, r) reason = r end)
      peer:accept()
      assert.matches(arguments[4], (assert(peer.link:receive(2))))
      peer:send(support.CONNACK):drop()
      kit.eventually(function() return reason end)
      assert.are.equal(mqtt.CONN_FAIL_TLS, reason)
      assert.is_false(up)
    end
  end)
end)

describe("a connect that replaces another", function()
  after_each(support.finish)

  it("ends a connecting attempt silently", function()
    local peer = support.peer()
    local broker = support.broker()
    local client = support.client("id")
    local log = support.record(client, { "connfail", "offline" })
    client:connect("127.0.0.1", peer.port, note(log, "old ok"), note(log, "old nok"))
    peer:accept():read()
    client:connect("127.0.0.1", broker.port, note(log, "new ok"), note(log, "new nok"))
    support.entries(log, 1)
    assert.is_true(peer:ended())
    kit.settle()
    assert.are.same({ "new ok" }, log)
  end)

  it("sends DISCONNECT on a connected client, and offline runs before anything of the new attempt", function()
    local client, peer = support.pair()
    local log = support.record(client, { "connect", "connfail", "offline" })
    local second = support.peer()
    client:connect("127.0.0.1", second.port, note(log, "new ok"))
    peer:expect_only_goodbye()
    second:welcome()
    support.entries(log, 3)
    assert.are.same({ { "offline" }, "new ok", { "connect", false } }, log)
  end)

  it("may come from any callback", function()
    local broker = support.broker()
    local client = support.client("again")
    local log = {}
    client:on("offline", function()
      log[#log + 1] = "offline"
      if #log < 6 then
        client:connect("127.0.0.1", broker.port, function()
          log[#log + 1] = "ok"
          client:close()
        end)
      end
    end)
    client:connect("127.0.0.1", support.closed_port(), function() end, function(c)
      log[#log + 1] = "nok"
      c:connect("127.0.0.1", broker.port, function() c:close() end)
    end)
    support.entries(log, 6)
    assert.are.same({ "nok", "offline", "ok", "offline", "ok", "offline" }, log)
  end)
end)

describe("client:state", function()
  after_each(support.finish)

  it("goes idle, connecting, connected, idle", function()
    local peer = support.peer()
    local client = support.client("id")
    assert.are.equal("idle", client:state())
    client:connect("127.0.0.1", peer.port)
    assert.are.equal("connecting", client:state())
    peer:welcome()
    kit.eventually(function() return client:state() == "connected" end)
    local offline = false
    client:on("offline", function() offline = true end)
    peer:drop()
    kit.eventually(function() return offline end)
    assert.are.equal("idle", client:state())
  end)
end)
