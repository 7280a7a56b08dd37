-- api_mqtt: the JS API of Mongoose OS.

local mgos_mqtt = require("mgos_mqtt")
local MQTT = require("api_mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.mgos.support")

describe("api_mqtt", function()
  local broker

  before_each(function()
    broker = support.broker()
    local told = false
    MQTT.setEventHandler(function(_, ev) told = told or ev == MQTT.EV_CONNACK end)
    mgos_mqtt.configure { mqtt = support.section(broker.port) }
    kit.eventually(function() return told end)
    MQTT.setEventHandler(nil)
  end)
  after_each(function()
    MQTT.setEventHandler(nil)
    support.finish()
  end)

  it("MQTT.isConnected says whether the connection is up", function()
    assert.is_true(MQTT.isConnected())
    mgos_mqtt.global_disconnect()
    assert.is_false(MQTT.isConnected())
  end)

  it("MQTT.pub returns 1 or 0", function()
    assert.equal(1, MQTT.pub("t", '{"a":1}', 1))
    assert.equal(1, MQTT.pub("t", "x"))
    kit.eventually(function() return #broker:received() == 2 end)
    assert.same({ 1, false, 0, false }, {
      broker:received()[1].qos, broker:received()[1].retain, broker:received()[2].qos, broker:received()[2].retain,
    })
    mgos_mqtt.global_disconnect()
    assert.equal(0, MQTT.pub("t", "x"))
    assert.equal(1, MQTT.pub("t", "x", 1, true))
    mgos_mqtt.configure {}
    assert.equal(0, MQTT.pub("t", "x", 1))
    assert.error_matches(function() MQTT.pub("t") end, "bad argument #2 to 'pub'")
  end)

  it("MQTT.sub calls the handler with connection, topic, message and user data", function()
    local topic = support.unique("api")
    local calls, handler = support.recorder()
    assert.equal(0, select("#", MQTT.sub(topic .. "/#", handler, "ud")))
    kit.eventually(function() return broker:subscriptions("spec")[topic .. "/#"] end)
    broker:publish(topic .. "/x", "hello")
    support.entries(calls, 1)
    assert.same({ n = 4, mgos_mqtt.get_global_conn(), topic .. "/x", "hello", "ud" }, calls[1])
    mgos_mqtt.unsub(topic .. "/#")
  end)

  it("MQTT.setEventHandler sets one handler, which replaces the one before", function()
    local first, second = {}, {}
    local function to(list)
      return function(_, ev, data, ud)
        if ev ~= MQTT.EV_POLL then list[#list + 1] = { ev, data, ud } end
      end
    end
    MQTT.setEventHandler(to(first), 1)
    MQTT.setEventHandler(to(second), 2)
    local id = mgos_mqtt.pub("t", "x", 1)
    support.entries(second, 1)
    assert.same({ { MQTT.EV_PUBACK, { packet_id = id }, 2 } }, second)
    assert.same({}, first)
    MQTT.setEventHandler(nil)
    mgos_mqtt.pub("t", "x", 1)
    kit.eventually(function() return mgos_mqtt.num_unsent_bytes() == 0 end)
    assert.equal(1, #second)
    assert.error_matches(function() MQTT.setEventHandler(5) end,
      "bad argument #1 to 'setEventHandler' %(function or nil expected, got 5%)")
  end)
end)
