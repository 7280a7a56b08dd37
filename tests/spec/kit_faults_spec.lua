-- What the broker of the kit does wrong when it is asked to, as a client sees it: a row for each fault there is.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

-- What comes of a connect to a broker with these faults: "connected", or reason and detail of its failure.
local function attempt(faults, options)
  local broker = support.broker { faults = faults }
  options = options or {}
  options.clientid = "faulty"
  local client = support.client(options)
  local outcome, present
  client:connect("127.0.0.1", broker.port, 0, 0,
    function(_, session_present) outcome, present = "connected", session_present end,
    function(_, reason, detail) outcome, present = reason, detail end)
  kit.eventually(function() return outcome end)
  return outcome, present, client, broker
end

-- A client that is connected to a broker with these faults from now on, and the events it sees.
local function connected(faults, options)
  local _, _, client, broker = attempt({}, options)
  broker:faults(faults)
  return client, support.record(client), broker
end

local function offline(log)
  kit.eventually(function() assert.are.same({ "offline" }, log[#log]) end)
end

local FAULTS = {
  connack = function()
    for code = 1, 5 do assert.are.equal(code, (attempt { connack = code })) end
  end,

  ignore_connect = function()
    assert.are.equal(mqtt.CONN_FAIL_TIMEOUT_RECEIVING, (attempt({ ignore_connect = true }, { connect_timeout = 0.05 })))
  end,

  answer_connect = function()
    assert.are.equal(mqtt.CONN_FAIL_NOT_A_CONNACK_MSG, (attempt { answer_connect = "\208\0" }))
    assert.are.equal("connected", (attempt { answer_connect = "\32\2\0\0" }))
  end,

  session_present = function()
    assert.is_true((select(2, attempt({ session_present = true }, { cleansession = 0 }))))
  end,

  cut_after_bytes_received = function()
    local client, log, broker = connected { cut_after_bytes_received = 9 }
    client:publish("t", "first", 0) -- ten bytes
    offline(log)
    assert.are.equal(0, #broker:received())
  end,

  cut_after_bytes_sent = function()
    -- one byte of a CONNACK
    assert.are.equal(mqtt.CONN_FAIL_NOT_A_CONNACK_MSG, (attempt { cut_after_bytes_sent = 1 }))
    local client, log = connected { cut_after_bytes_sent = 2 }
    client:publish("t", "x", 1)
    offline(log)
    assert.are.equal(1, #log)
  end,

  cut_after_packets_received = function()
    local client, log, broker = connected { cut_after_packets_received = 2 }
    for i = 1, 3 do client:publish("t", i) end
    offline(log)
    assert.are.equal(2, #broker:received())
  end,

  cut_after_packets_sent = function()
    local client, log, broker = connected { cut_after_packets_sent = 1 }
    client:subscribe("t", 0)
    broker:publish("t", "never seen")
    offline(log)
    assert.are.equal("suback", log[1][1])
    assert.are.equal(2, #log)
  end,

  delay = function()
    local client, log = connected { delay = 0.1 }
    local began = require("socket").gettime()
    client:publish("t", "x", 1)
    support.entries(log, 1)
    assert.is_true(require("socket").gettime() - began > 0.09)
  end,

  swallow = function()
    local client, log, broker = connected { swallow = { "puback" } }
    client:publish("t", "x", 1)
    kit.eventually(function() return #broker:received() == 1 end)
    kit.settle()
    assert.are.same({}, log)
    assert.are.equal(1, (client:pending()))
  end,

  duplicate = function()
    local lines = {}
    local client = connected { duplicate = { "puback" } }
    mqtt.trace(function(line) if line:match("PUBACK") then lines[#lines + 1] = line end end)
    client:publish("t", "x", 1)
    support.entries(lines, 2)
    assert.are.equal("connected", client:state())
  end,

  byte_by_byte = function()
    local client, log, broker = connected { byte_by_byte = true }
    support.subscribed(client, "t", 2)
    broker:publish("t", ("x"):rep(300), 2)
    kit.eventually(function()
      assert.are.same({ "message", "t", ("x"):rep(300), 2, false, false }, log[#log])
    end)
  end,

  deaf = function()
    local client, log, broker = connected {}
    broker:client_faults("faulty", { deaf = true })
    client:publish("t", "x", 1)
    -- another one, who was there later, is served
    local other = support.connected(broker.port)
    other:publish("other", "x", 1)
    kit.eventually(function() return other:pending() == 0 end)
    assert.are.same({}, broker:received { client = "faulty" })
    assert.are.same({}, log)
    broker:clear_faults()
    support.entries(log, 1)
    assert.are.equal(1, #broker:received { client = "faulty" })
  end,

  refuse_filters = function()
    local client, log = connected { refuse_filters = { "a/#" } }
    client:subscribe { ["a/#"] = 1, b = 1 }
    support.entries(log, 1)
    assert.are.same({ "suback", { ["a/#"] = false, b = 1 } }, log[1])
  end,

  max_qos = function()
    local client, log = connected { max_qos = 1 }
    client:subscribe { a = 0, b = 2 }
    support.entries(log, 1)
    assert.are.same({ "suback", { a = 0, b = 1 } }, log[1])
  end,
}

describe("a fault of the kit's broker:", function()
  after_each(support.finish)

  for name, test in pairs(FAULTS) do it(name, test) end

  it("has a test in this file, whichever it is", function()
    local _, message = pcall(kit.broker, { faults = { nonsense = 1 } })
    local untested = {}
    for name in message:match("one of (.-) expected, got"):gmatch("[%w_]+") do
      if not FAULTS[name] then untested[#untested + 1] = name end
    end
    assert.are.same({}, untested)
  end)
end)
