-- Some of the hostile brokers of tests/hostile once more, as a script meets them: what its callbacks hear, and that the
-- same client passes a message afterwards.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

-- Bytes in the place of CONNACK.
local BEFORE = {
  ["a message"] = "\48\4\0\1tx",
  ["a malformed CONNACK"] = "\32\3\0\0\0",
  ["a return code that is none"] = "\32\2\0\6",
  ["a refusal with a session"] = "\32\2\1\5",
  ["an HTTP answer"] = "HTTP/1.1 400 Bad Request\r\n\r\n",
  ["256 MB announced"] = "\48\255\255\255\127",
}

-- Bytes between two good messages, on a connection that was accepted.
local AFTER = {
  ["a reserved type"] = "\240\0",
  ["a second CONNACK"] = "\32\2\0\0",
  ["a PUBLISH of QoS 3"] = "\54\6\0\1t\0\1x",
  ["an empty topic"] = "\48\3\0\0x",
  ["a topic with a wildcard"] = "\48\4\0\1#x",
  ["a topic that is no UTF-8"] = "\48\5\0\2\255\254x",
  ["id 0"] = "\50\6\0\1t\0\0x",
  ["a length that never ends"] = "\48\255\255\255\255\255",
  ["a SUBACK of 256 MB"] = "\144\255\255\255\127",
  ["SUBSCRIBE"] = "\130\6\0\1\0\1a\0",
}

local HARMLESS = {
  ["an unknown PUBACK"] = "\64\2\0\9",
  ["an unknown PUBREC"] = "\80\2\0\9",
  ["an unknown PUBREL"] = "\98\2\0\9",
  ["an unknown PUBCOMP"] = "\112\2\0\9",
  ["an unknown SUBACK"] = "\144\3\0\9\0",
  ["an unknown UNSUBACK"] = "\176\2\0\9",
  ["PINGRESP"] = "\208\0",
}

local GOOD = "\48\4\0\1g1"

-- The client passes a message to itself through a good broker.
local function passes_a_message(client)
  local port, got = support.broker().port, nil
  client:on("message", function(_, topic, data) got = topic .. "=" .. tostring(data) end)
  client:connect("127.0.0.1", port, 0, 0, function()
    client:subscribe("good", 1, function() client:publish("good", "hello", 1) end)
  end)
  kit.eventually(function() return got end)
  assert.are.equal("good=hello", got)
end

describe("a hostile broker", function()
  after_each(support.finish)

  for name, bytes in pairs(BEFORE) do
    it("fails connect with " .. name, function()
      local broker = support.broker { faults = { answer_connect = bytes } }
      local client = support.client(support.unique("hostile"))
      local log = support.record(client)
      client:connect("127.0.0.1", broker.port)
      assert.is_true(mqtt.run(10))
      assert.are.equal(1, #log)
      assert.are.same({ "connfail", mqtt.CONN_FAIL_NOT_A_CONNACK_MSG }, { log[1][1], log[1][2] })
      assert.are.equal("string", type(log[1][3]))
      passes_a_message(client)
    end)
  end

  for name, bytes in pairs(AFTER) do
    it("is left after " .. name .. ", of which nothing is delivered", function()
      local broker = support.broker()
      local id = support.unique("hostile")
      local client = support.connected(broker.port, { clientid = id })
      local log = support.record(client)
      assert(broker:send_raw(id, GOOD .. bytes .. GOOD))
      assert.is_true(mqtt.run(10))
      assert.are.same({ { "message", "g", "1", 0, false, false }, { "offline" } }, log)
      passes_a_message(client)
    end)
  end

  for name, bytes in pairs(HARMLESS) do
    it("is stayed with after " .. name, function()
      local broker = support.broker()
      local id = support.unique("hostile")
      local client = support.connected(broker.port, { clientid = id })
      local log = support.record(client)
      assert(broker:send_raw(id, bytes .. GOOD))
      support.entries(log, 1)
      assert.are.same({ { "message", "g", "1", 0, false, false } }, log)
      assert.are.equal("connected", client:state())
    end)
  end
end)
