-- mqtt_helpers.lua of the examples.

local kit = require("mqtt.test")
local support = require("tests.spec.support")

describe("mqtt_helpers.lua", function()
  local globals = {}
  local client, broker, calls

  setup(function()
    -- It defines globals, as device scripts expect; here they end up in a table of their own.
    local chunk
    if rawget(_G, "setfenv") then
      chunk = assert(loadfile("lua_examples/mqtt/mqtt_helpers.lua"))
      rawget(_G, "setfenv")(chunk, setmetatable(globals, { __index = _G }))
    else
      chunk = assert(loadfile("lua_examples/mqtt/mqtt_helpers.lua", "t", setmetatable(globals, { __index = _G })))
    end
    chunk()
  end)

  before_each(function()
    broker = support.broker()
    client = support.connected(broker.port)
    calls = {}
  end)
  after_each(support.finish)

  local function note(...)
    calls[#calls + 1] = { ... }
  end

  it("subscribes to one topic after the other, then calls back with the client", function()
    globals.subscribe_multi(client, { a = 0, ["b/#"] = 1, ["c/+"] = 2 }, note)
    support.entries(calls, 1)
    local got = {}
    client:on("message", function(_, topic, _, qos) got[topic] = qos end)
    for _, topic in ipairs { "a", "b/x", "c/x" } do client:publish(topic, "x", 2) end
    kit.eventually(function() return got["c/x"] end)
    assert.are.same({ a = 0, ["b/x"] = 1, ["c/x"] = 2 }, got)
    assert.are.same({ { client } }, calls)
  end)

  it("unsubscribes likewise", function()
    local topics = { a = 0, b = 1, c = 2 }
    globals.subscribe_multi(client, topics, function(c) globals.unsubscribe_multi(c, topics, note) end)
    support.entries(calls, 1)
    assert.are.same({ { client } }, calls)
    support.subscribed(client, "end", 1)
    local got = {}
    client:on("message", function(_, topic) got[#got + 1] = topic end)
    for _, topic in ipairs { "a", "b", "c", "end" } do client:publish(topic, "x", 1) end
    support.entries(got, 1)
    assert.are.same({ "end" }, got)
  end)

  it("call back for an empty table", function()
    globals.subscribe_multi(client, {}, note)
    globals.unsubscribe_multi(client, {}, note)
    assert.are.same({ { client }, { client } }, calls)
  end)

  it("need no callback", function()
    globals.subscribe_multi(client, { a = 0 })
    globals.subscribe_multi(client, {})
    globals.unsubscribe_multi(client, { a = 0 })
    kit.eventually(function() return client:publish("t", "x") end)
  end)

  it("make one call at a time", function()
    local peer_client, peer = support.pair()
    globals.subscribe_multi(peer_client, { a = 0, b = 0 }, note)
    local first = peer:read()
    assert.is_true(peer:quiet())
    peer:send("\144\3" .. first:sub(3, 4) .. "\0")
    local second
    kit.eventually(function()
      peer.link:settimeout(0)
      second = second or peer.link:receive(8)
      return second
    end)
    peer:send("\144\3" .. second:sub(3, 4) .. "\0")
    support.entries(calls, 1)
  end)

  it("do not start over when the client subscribes to something else later", function()
    globals.subscribe_multi(client, { a = 0 }, note)
    support.entries(calls, 1)
    client:subscribe("b", 0)
    client:subscribe("c", 0)
    local done = false
    client:publish("t", "x", 1, 0, function() done = true end)
    kit.eventually(function() return done end)
    assert.are.equal(1, #calls)
  end)
end)
