-- mqtt.Client: its arguments, options and defaults; credentials, will, callbacks.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local text, packet, hex = support.text, support.packet, support.hex

-- The CONNECT that a new client with these arguments sends.
local function connect_of(client, ...)
  local peer = support.peer()
  client:connect("127.0.0.1", peer.port, ...)
  return peer:welcome()
end

local function assert_packet(expected, actual)
  assert.are.equal(hex(expected), hex(actual))
end

describe("mqtt.Client", function()
  after_each(support.finish)

  it("has defaults for everything", function()
    local connect = connect_of(support.client())
    -- Protocol name, level 4, flags: clean session, keep alive 60; then the id.
    local id = connect:sub(15)
    assert.matches("^NodeMCU_%x%x%x%x%x%x$", id)
    assert_packet(packet(0x10, text("MQTT") .. "\4\2\0\60" .. text(id)), connect)
  end)

  it("takes the manual's six arguments", function()
    local client = support.client("id", 120, "user", "pass\0word", 0, 1024)
    assert_packet(
      packet(0x10, text("MQTT") .. "\4\192\0\120" .. text("id") .. text("user") .. text("pass\0word")),
      connect_of(client))
  end)

  it("takes the same by name", function()
    local client = support.client {
      clientid = "id", keepalive = 120, username = "user", password = "pass\0word", cleansession = 0,
      max_message_length = 1024,
    }
    assert_packet(
      packet(0x10, text("MQTT") .. "\4\192\0\120" .. text("id") .. text("user") .. text("pass\0word")),
      connect_of(client))
  end)

  it("takes nil for not given", function()
    assert_packet(
      packet(0x10, text("MQTT") .. "\4\2\0\60" .. text("id")),
      connect_of(support.client("id", nil, nil, nil, nil, nil)))
  end)

  it("sends a user name without a password", function()
    assert_packet(
      packet(0x10, text("MQTT") .. "\4\130\0\60" .. text("id") .. text("user")),
      connect_of(support.client("id", nil, "user")))
  end)

  it("sends an empty user name and password when they are given", function()
    assert_packet(
      packet(0x10, text("MQTT") .. "\4\194\0\60" .. text("id") .. text("") .. text("")),
      connect_of(support.client("id", nil, "", "")))
  end)

  it("sends the empty id as such", function()
    assert_packet(packet(0x10, text("MQTT") .. "\4\2\0\60" .. text("")), connect_of(support.client("")))
  end)

  it("sends keepalive 0 and 65535", function()
    assert_packet(packet(0x10, text("MQTT") .. "\4\2\0\0" .. text("id")), connect_of(support.client("id", 0)))
    assert_packet(packet(0x10, text("MQTT") .. "\4\2\255\255" .. text("id")), connect_of(support.client("id", 65535)))
  end)

  it("speaks MQTT 3.1 when told to", function()
    local client = support.client { clientid = "id", protocol = "3.1" }
    assert_packet(packet(0x10, text("MQIsdp") .. "\3\2\0\60" .. text("id")), connect_of(client))
  end)

  it("takes ids longer than MQTT 3.1's 23 characters", function()
    local id = ("x"):rep(200)
    assert_packet(packet(0x10, text("MQTT") .. "\4\2\0\60" .. text(id)), connect_of(support.client(id)))
  end)

  it("is what a client object is called from any name", function()
    local client = mqtt.Client("id")
    assert.are.equal("userdata", type(client))
    assert.are.equal("idle", client:state())
    assert.are.same({ 0, 0 }, { client:pending() })
  end)
end)

-- The CONNECT ends in the user name and the password.
local function assert_credentials(username, password, connect)
  local expected = text(username) .. text(password)
  assert_packet(expected, connect:sub(-#expected))
end

describe("a user name or password that is a function", function()
  after_each(support.finish)

  it("is called inside the loop before each dial", function()
    local calls = 0
    local peer = support.peer()
    local client = support.client {
      clientid = "id",
      username = function()
        calls = calls + 1
        return "user" .. calls
      end,
      password = function() return "token" .. calls end,
    }
    local refused = false
    client:connect("127.0.0.1", peer.port, 0, nil, nil, function() refused = true end)
    assert.are.equal(0, calls)
    kit.eventually(function() return calls == 1 end)
    assert_credentials("user1", "token1", peer:welcome("\32\2\0\4"))
    kit.eventually(function() return refused end)

    client:connect("127.0.0.1", peer.port)
    kit.eventually(function() return calls == 2 end)
    assert_credentials("user2", "token2", peer:welcome())
  end)

  it("fails the attempt with -1 when it raises, and the error comes out of the loop", function()
    local problem = setmetatable({}, { __tostring = function() return "no token" end })
    local client = support.client { clientid = "id", username = function() error(problem) end }
    local reason
    client:connect("127.0.0.1", support.peer().port, 0, nil, nil, function(_, r) reason = r end)
    local ok, err = pcall(mqtt.run, 5)
    assert.is_false(ok)
    assert.are.equal(problem, err)
    kit.eventually(function() return reason end)
    assert.are.equal(mqtt.CONN_FAIL_TIMEOUT_SENDING, reason)
    assert.are.equal("idle", client:state())
  end)
end)

describe("client:lwt", function()
  after_each(support.finish)

  it("puts the will into the next CONNECT", function()
    local client = support.client("id")
    assert.are.equal(0, select("#", client:lwt("gone", "bye\0bye", 2, 1)))
    -- Will QoS 2 and retain: flags 00110110.
    assert_packet(
      packet(0x10, text("MQTT") .. "\4\54\0\60" .. text("id") .. text("gone") .. text("bye\0bye")),
      connect_of(client))
  end)

  it("defaults to QoS 0 and no retain", function()
    local client = support.client("id")
    client:lwt("gone", "bye")
    assert_packet(
      packet(0x10, text("MQTT") .. "\4\6\0\60" .. text("id") .. text("gone") .. text("bye")),
      connect_of(client))
  end)

  it("takes an empty message", function()
    local client = support.client("id")
    client:lwt("gone", "")
    assert_packet(
      packet(0x10, text("MQTT") .. "\4\6\0\60" .. text("id") .. text("gone") .. text("")),
      connect_of(client))
  end)

  it("stays for the connections after", function()
    local client = support.client("id")
    client:lwt("gone", "bye")
    local first = connect_of(client)
    assert_packet(first, connect_of(client))
  end)

  it("is changed for the next connection by a second call", function()
    local client = support.client("id")
    client:lwt("gone", "first")
    connect_of(client)
    client:lwt("gone", "second", 1)
    assert_packet(
      packet(0x10, text("MQTT") .. "\4\14\0\60" .. text("id") .. text("gone") .. text("second")),
      connect_of(client))
  end)
end)

describe("client:on", function()
  after_each(support.finish)

  it("returns nothing and takes every event of the contract", function()
    local client = support.client("id")
    for _, event in ipairs(support.EVENTS) do
      assert.are.equal(0, select("#", client:on(event, print)))
      assert.are.equal(0, select("#", client:on(event, nil)))
    end
  end)

  it("replaces the callback of before", function()
    local broker = support.broker()
    local client = support.client("replaced")
    local calls = {}
    client:on("connect", function() calls[#calls + 1] = "first" end)
    client:on("connect", function() calls[#calls + 1] = "second" end)
    client:connect("127.0.0.1", broker.port)
    kit.eventually(function() return #calls > 0 end)
    assert.are.same({ "second" }, calls)
  end)

  it("removes a callback with nil", function()
    local client, peer = support.pair()
    local calls = 0
    client:on("message", function() calls = calls + 1 end)
    peer:send(packet(0x30, text("a") .. "1"))
    kit.eventually(function() return calls == 1 end)
    client:on("message", nil)
    local done = false
    client:on("overflow", function() done = true end)
    peer:send(packet(0x32, text("a") .. "\0\9" .. "2"))
    -- The PUBACK goes out though nobody listens.
    assert_packet("\64\2\0\9", peer:read())
    mqtt.poll()
    assert.are.equal(1, calls)
    assert.is_false(done)
  end)
end)
