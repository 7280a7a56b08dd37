-- What has to work with any broker over any transport: with the embedded one, and with the one at MQTT_TEST_BROKER.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

describe("against a broker #interop", function()
  local host, port, secure
  local prefix

  before_each(function()
    host, port, secure = support.target()
    prefix = support.unique("interop")
  end)
  after_each(support.finish)

  local function topic(name)
    return prefix .. "/" .. name
  end

  -- A connected client; its id unless `options` has one.
  local function connected(options)
    options = options or {}
    options.clientid = options.clientid or support.unique("interop")
    local client = support.client(options)
    local up, why
    client:connect(host, port, secure, nil,
      function() up = true end,
      function(_, reason, detail) why = reason .. " " .. detail end)
    kit.eventually(function() return up or why end)
    assert(up, why)
    return client
  end

  -- The messages that a client gets from now on: { topic, data, qos, retain }.
  local function inbox(client)
    local messages = {}
    client:on("message", function(_, t, data, qos, retain) messages[#messages + 1] = { t, data, qos, retain } end)
    return messages
  end

  -- Ends a subscription, and waits until all that the broker has sent before its answer has come.
  local function caught_up(client, filter)
    local done = false
    client:unsubscribe(filter, function() done = true end)
    kit.eventually(function() return done end)
  end

  -- As many as mosquitto has under way to one client: version 2.0.11 forgets at QoS 2 what waits behind them.
  local MANY = 20

  for qos = 0, 2 do
    it("delivers at QoS " .. qos .. ", once and in order", function()
      local client = connected()
      support.subscribed(client, topic("#"), qos)
      local messages = inbox(client)
      for i = 1, MANY do client:publish(topic("n"), i, qos) end
      support.entries(messages, MANY)
      kit.eventually(function() return client:pending() == 0 end)
      caught_up(client, topic("#"))
      assert.are.equal(MANY, #messages)
      for i = 1, MANY do assert.are.same({ topic("n"), tostring(i), qos, false }, messages[i]) end
    end)
  end

  it("delivers at the lower QoS of publisher and subscriber", function()
    local client = connected()
    support.subscribed(client, topic("#"), 1)
    local messages = inbox(client)
    for qos = 0, 2 do
      client:publish(topic("n"), qos, qos)
      support.entries(messages, qos + 1)
    end
    assert.are.same({ 0, 1, 1 }, { messages[1][3], messages[2][3], messages[3][3] })
  end)

  it("carries every byte, and nothing", function()
    local client = connected()
    support.subscribed(client, topic("#"), 1)
    local messages = inbox(client)
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    local payload = table.concat(bytes):rep(100)
    client:publish(topic("bytes"), payload, 1)
    client:publish(topic("nothing"), "", 1)
    support.entries(messages, 2)
    assert.is_true(messages[1][2] == payload)
    assert.is_nil(messages[2][2])
  end)

  it("keeps retained messages until an empty one", function()
    local client = connected()
    client:publish(topic("kept"), "state", 1, 1)
    kit.eventually(function() return client:pending() == 0 end)
    local late = connected()
    local messages = inbox(late)
    support.subscribed(late, topic("#"), 1)
    support.entries(messages, 1)
    assert.are.same({ topic("kept"), "state", 1, true }, messages[1])

    client:publish(topic("kept"), "", 1, 1)
    support.entries(messages, 2)
    local later = connected()
    messages = inbox(later)
    support.subscribed(later, topic("#"), 1)
    later:publish(topic("end"), "x", 1)
    support.entries(messages, 1)
    assert.are.equal(topic("end"), messages[1][1])
  end)

  it("grants what a table asks for", function()
    local client = connected()
    local granted
    client:subscribe({ [topic("a")] = 0, [topic("b/+")] = 1, [topic("c/#")] = 2 }, function(_, g) granted = g end)
    kit.eventually(function() return granted end)
    assert.are.same({ [topic("a")] = 0, [topic("b/+")] = 1, [topic("c/#")] = 2 }, granted)
  end)

  it("stops after unsubscribe", function()
    local client = connected()
    support.subscribed(client, topic("a"), 1)
    support.subscribed(client, topic("b"), 1)
    local messages = inbox(client)
    local done = false
    client:unsubscribe(topic("a"), function() done = true end)
    kit.eventually(function() return done end)
    client:publish(topic("a"), "x", 1)
    client:publish(topic("b"), "x", 1)
    support.entries(messages, 1)
    assert.are.equal(topic("b"), messages[1][1])
  end)

  it("publishes a will when a client is replaced, not when it closes", function()
    local watcher = connected()
    support.subscribed(watcher, topic("#"), 1)
    local messages = inbox(watcher)
    local id = support.unique("mortal")
    local function mortal(name)
      local client = support.client(id)
      local up, lost = false, false
      client:lwt(topic("will"), name, 1)
      client:on("offline", function() lost = true end)
      client:connect(host, port, secure, function() up = true end)
      kit.eventually(function() return up end)
      return client, function() return lost end
    end
    local _, lost = mortal("replaced")
    local second = mortal("closed")
    kit.eventually(lost)
    second:close()
    kit.eventually(function() return second:state() == "idle" end)
    support.entries(messages, 1)
    watcher:publish(topic("end"), "x", 1)
    support.entries(messages, 2)
    assert.are.same({ topic("will"), "replaced", 1, false }, messages[1])
    assert.are.equal(topic("end"), messages[2][1])
  end)

  it("keeps a persistent session: subscriptions, missed messages, session_present", function()
    local id = support.unique("persistent")
    local client = connected { clientid = id, cleansession = 0 }
    support.subscribed(client, topic("#"), 2)
    client:close()
    kit.eventually(function() return client:state() == "idle" end)
    local writer = connected()
    for qos = 1, 2 do writer:publish(topic("n"), qos, qos) end
    kit.eventually(function() return writer:pending() == 0 end)
    local messages, present = inbox(client), nil
    client:connect(host, port, secure, function(_, session_present) present = session_present end)
    support.entries(messages, 2)
    assert.is_true(present)
    assert.are.same({ topic("n"), "1", 1, false }, messages[1])
    assert.are.same({ topic("n"), "2", 2, false }, messages[2])
    -- Tidy up: a clean session ends it.
    client:close()
    connected { clientid = id }
  end)

  it("speaks MQTT 3.1", function()
    local client = connected { clientid = support.unique("old"):sub(-23), protocol = "3.1" }
    support.subscribed(client, topic("a"), 2)
    local messages = inbox(client)
    client:publish(topic("a"), "x", 2)
    support.entries(messages, 1)
    assert.are.equal("x", messages[1][2])
  end)

  it("takes an empty client id", function()
    local client = connected { clientid = "" }
    assert.are.equal("connected", client:state())
  end)

  it("takes a message of a megabyte", function()
    local client = connected()
    support.subscribed(client, topic("a"), 1)
    local messages = inbox(client)
    local payload = ("0123456789abcdef"):rep(65536)
    client:publish(topic("a"), payload, 1)
    -- mosquitto 2.0.11 sends 4 KB to a WebSocket at each turn of its loop: ten times a second, unless something comes.
    for _ = 1, 2000 do
      if messages[1] then break end
      client:publish(topic("b"), "")
      mqtt.poll(0.005)
    end
    support.entries(messages, 1)
    assert.is_true(messages[1][2] == payload)
  end)

  it("shares a subscription between its members", function()
    local readers, seen, shared = {}, {}, "$share/" .. prefix .. "/" .. topic("work")
    for i = 1, 2 do
      readers[i] = connected()
      support.subscribed(readers[i], shared, 1)
      readers[i]:on("message", function(_, _, data) seen[#seen + 1] = data end)
    end
    local writer = connected()
    for i = 1, 10 do writer:publish(topic("work"), i, 1) end
    support.entries(seen, 10)
    for i = 1, 2 do caught_up(readers[i], shared) end
    assert.are.equal(10, #seen)
  end)

  it("stays up over several keep-alives of one second", function()
    local client = connected { keepalive = 1 }
    assert.is_nil((mqtt.wait(function() return client:state() ~= "connected" end, 3)))
  end)
end)
