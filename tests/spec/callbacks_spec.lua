-- Callbacks: when they run, what their errors do, what they may call.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local text, packet = support.text, support.packet

local function message(topic, payload)
  return packet(0x30, text(topic) .. (payload or ""))
end

describe("callbacks", function()
  after_each(support.finish)

  it("run in the order of what happened, over all events", function()
    local client, peer = support.pair()
    local log = support.record(client)
    client:publish("t", "x", 1)
    client:subscribe("s", 0)
    client:unsubscribe("s")
    peer:read()
    peer:read()
    peer:read()
    peer:send(message("m", "1") .. "\64\2\0\1" .. "\144\3\0\2\0" .. message("m", "2") .. "\176\2\0\3")
    peer:drop()
    support.entries(log, 6)
    assert.are.same({
      { "message", "m", "1", 0, false, false },
      { "puback", 1 },
      { "suback", { s = 0 } },
      { "message", "m", "2", 0, false, false },
      { "unsuback" },
      { "offline" },
    }, log)
  end)

  it("of several clients do not mix their clients up", function()
    local broker = support.broker()
    local seen = {}
    local list = {}
    for i = 1, 5 do
      list[i] = support.subscribed(support.connected(broker.port), "to/" .. i)
      list[i]:on("message", function(c, topic) seen[#seen + 1] = c == list[i] and topic == "to/" .. i end)
    end
    for i = 1, 5 do list[i % 5 + 1]:publish("to/" .. i, "x") end
    support.entries(seen, 5)
    assert.are.same({ true, true, true, true, true }, seen)
  end)

  it("run on the main loop only: none runs inside another method", function()
    local client, peer = support.pair()
    local inside, calls = false, 0
    client:on("message", function()
      assert(not inside)
      calls = calls + 1
    end)
    peer:send(message("m"):rep(10))
    inside = true
    for _ = 1, 100 do
      client:publish("t", "x")
      client:pending()
      client:state()
      mqtt.stats()
    end
    inside = false
    kit.eventually(function() return calls == 10 end)
  end)
end)

describe("an error in a callback", function()
  after_each(support.finish)

  it("comes out of the loop once, the same object, and the rest still runs", function()
    local client, peer = support.pair()
    local problem = {}
    local log = {}
    client:on("message", function(_, topic)
      log[#log + 1] = topic
      if topic == "bad" then error(problem) end
    end)
    peer:send(message("first") .. message("bad") .. message("last"))
    local ok, err = pcall(mqtt.wait, function() return #log == 3 end, 5)
    assert.is_false(ok)
    assert.are.equal(problem, err)
    assert.are.same({ "first", "bad" }, log)
    kit.eventually(function() return #log == 3 end)
    kit.settle()
    assert.are.same({ "first", "bad", "last" }, log)
    assert.are.equal("connected", client:state())
  end)

  for name, loop in pairs {
    run = function() return mqtt.run(5) end,
    poll = function() return mqtt.poll(5) end,
    wait = function() return mqtt.wait(function() return false end, 5) end,
  } do
    it("comes out of " .. name .. " with the callback's frames in its traceback", function()
      local client, peer = support.pair()
      client:on("message", function()
        local function culprit() error("told you so", 0) end
        culprit()
      end)
      peer:send(message("m"))
      local ok, trace = xpcall(loop, debug.traceback)
      assert.is_false(ok)
      assert.matches("^told you so", trace)
      assert.matches("culprit", trace)
    end)
  end

  it("keeps its place when it is a string", function()
    local client, peer = support.pair()
    client:on("message", function() error("told you so") end)
    peer:send(message("m"))
    local ok, err = pcall(mqtt.poll, 5)
    assert.is_false(ok)
    assert.matches("callbacks_spec.lua:%d+: told you so$", err)
  end)

  it("in ok does not take on(\"connect\") with it", function()
    local broker = support.broker()
    local client = support.client("error-in-ok")
    local connected = false
    client:on("connect", function() connected = true end)
    client:connect("127.0.0.1", broker.port, function() error("told you so") end)
    local ok = pcall(mqtt.wait, function() return connected end, 5)
    assert.is_false(ok)
    kit.eventually(function() return connected end)
  end)

  it("in a timer leaves the timer alone", function()
    local ticks = 0
    local timer = tmr.create()
    timer:alarm(1, tmr.ALARM_AUTO, function()
      ticks = ticks + 1
      if ticks == 1 then error("told you so") end
    end)
    assert.is_false(pcall(mqtt.run, 5))
    kit.eventually(function() return ticks >= 3 end)
    timer:unregister()
  end)

  it("nil as an error object is kept", function()
    local client, peer = support.pair()
    client:on("message", function() error(nil) end)
    peer:send(message("m"))
    local ok, err = pcall(mqtt.poll, 5)
    assert.is_false(ok)
    assert.is_nil(err)
  end)

  it("is a failed assertion of the test around it", function()
    local client, peer = support.pair()
    client:on("message", function(_, topic) assert.are.equal("expected", topic) end)
    peer:send(message("other"))
    local ok, err = pcall(mqtt.poll, 5)
    assert.is_false(ok)
    assert.matches("expected", tostring(err))
  end)
end)

describe("a callback may", function()
  after_each(support.finish)

  it("poll for what comes after it", function()
    local client, peer = support.pair()
    local log = {}
    client:on("message", function(_, topic)
      log[#log + 1] = "in " .. topic
      if topic == "first" then
        kit.eventually(function() return #log == 3 end)
      end
      log[#log + 1] = "out " .. topic
    end)
    peer:send(message("first") .. message("second"))
    support.entries(log, 4)
    assert.are.same({ "in first", "in second", "out second", "out first" }, log)
  end)

  it("run the loop to its end", function()
    local client, peer = support.pair()
    local finished
    client:on("message", function(c)
      c:close()
      finished = mqtt.run(5)
    end)
    peer:send(message("m"))
    kit.eventually(function() return finished ~= nil end)
    assert.is_true(finished)
    assert.are.equal("idle", client:state())
  end)

  it("replace itself", function()
    local client, peer = support.pair()
    local log = {}
    client:on("message", function(c)
      log[#log + 1] = "old"
      c:on("message", function() log[#log + 1] = "new" end)
    end)
    peer:send(message("m"):rep(3))
    support.entries(log, 3)
    assert.are.same({ "old", "new", "new" }, log)
  end)

  it("close its client: what had arrived is not delivered any more", function()
    local client, peer = support.pair()
    local log = {}
    client:on("message", function(c, topic)
      log[#log + 1] = topic
      c:close()
    end)
    client:on("offline", function() log[#log + 1] = "offline" end)
    peer:send(message("first") .. message("second"))
    support.entries(log, 2)
    kit.settle()
    assert.are.same({ "first", "offline" }, log)
  end)

  it("close another client", function()
    local first, first_peer = support.pair()
    local second, second_peer = support.pair()
    local log = {}
    first:on("message", function()
      log[#log + 1] = "first"
      second:close()
    end)
    second:on("message", function() log[#log + 1] = "second" end)
    second:on("offline", function() log[#log + 1] = "second offline" end)
    second_peer:send("")
    first_peer:send(message("m"))
    support.entries(log, 2)
    assert.are.same({ "first", "second offline" }, log)
  end)

  it("create and connect clients", function()
    local broker = support.broker()
    local depth, deepest = 0, 0
    local function nest()
      depth = depth + 1
      deepest = math.max(deepest, depth)
      if depth < 5 then support.client("nested-" .. depth):connect("127.0.0.1", broker.port, nest) end
    end
    nest()
    kit.eventually(function() return deepest == 5 end)
  end)

  it("collect garbage", function()
    local client, peer = support.pair()
    local calls = 0
    client:on("message", function()
      collectgarbage()
      collectgarbage()
      calls = calls + 1
    end)
    peer:send(message("m", "x"):rep(20))
    kit.eventually(function() return calls == 20 end)
  end)

  it("not yield out of the loop", function()
    local client, peer = support.pair()
    client:on("message", function() coroutine.yield() end)
    peer:send(message("m"))
    local thread = coroutine.create(function() return mqtt.poll(5) end)
    local ok, err = coroutine.resume(thread)
    assert.is_false(ok)
    assert.matches("yield", err)
    assert.are.equal("dead", coroutine.status(thread))
  end)

  it("be called from a coroutine that runs the loop", function()
    local client, peer = support.pair()
    local topic
    client:on("message", function(_, t) topic = t end)
    peer:send(message("m"))
    local ok, count = coroutine.resume(coroutine.create(function() return mqtt.poll(5) end))
    assert.is_true(ok)
    assert.are.equal(1, count)
    assert.are.equal("m", topic)
  end)
end)

describe("acknowledgements that come together", function()
  after_each(support.finish)

  -- a client whose n messages of QoS 1 the peer acknowledges at once; nothing has run yet
  local function acknowledged(n)
    local client, peer = support.pair()
    for _ = 1, n do client:publish("t", "x", 1) end
    local acks = {}
    for id = 1, n do
      peer:read()
      acks[id] = "\64\2\0" .. string.char(id)
    end
    peer:send(table.concat(acks))
    return client, peer
  end

  it("call back one by one, in order, each with its id", function()
    local client = acknowledged(20)
    local ids = {}
    client:on("puback", function(c, id)
      assert(c == client)
      ids[#ids + 1] = id
    end)
    support.entries(ids, 20)
    for id = 1, 20 do assert.are.equal(id, ids[id]) end
  end)

  it("go on with the callback that one of them sets", function()
    local client = acknowledged(6)
    local log = {}
    client:on("puback", function(_, id)
      log[#log + 1] = "first " .. id
      if id == 2 then client:on("puback", function(_, i) log[#log + 1] = "second " .. i end) end
    end)
    support.entries(log, 6)
    assert.are.same({ "first 1", "first 2", "second 3", "second 4", "second 5", "second 6" }, log)
  end)

  for n, which in ipairs { "the first", "the second" } do
    it("go on without one when " .. which .. " of them takes it away", function()
      local client, peer = acknowledged(6)
      local calls, message_came = 0, false
      client:on("puback", function()
        calls = calls + 1
        if calls == n then client:on("puback", nil) end
      end)
      client:on("message", function() message_came = true end)
      peer:send(message("m"))
      kit.eventually(function() return message_came end)
      assert.are.equal(n, calls)
    end)
  end

  it("go on behind an error in one of them", function()
    local client = acknowledged(6)
    local ids, failures = {}, 0
    client:on("puback", function(_, id)
      ids[#ids + 1] = id
      if id % 2 == 0 then error("even") end
    end)
    for _ = 1, 6 do
      if not pcall(mqtt.wait, function() return #ids == 6 end, 30) then failures = failures + 1 end
    end
    assert.are.same({ 1, 2, 3, 4, 5, 6 }, ids)
    assert.are.equal(3, failures)
  end)

  it("end with the client that one of them closes", function()
    local client = acknowledged(6)
    local calls, gone = 0, false
    client:on("offline", function() gone = true end)
    client:on("puback", function()
      calls = calls + 1
      if calls == 3 then client:close() end
    end)
    kit.eventually(function() return gone end)
    assert.are.equal(3, calls)
  end)

  it("stop the loop where one of them says so", function()
    local client = acknowledged(6)
    local calls = 0
    client:on("puback", function()
      calls = calls + 1
      if calls == 4 then mqtt.stop() end
    end)
    assert.is_true(mqtt.run(30))
    assert.are.equal(4, calls)
    kit.eventually(function() return calls == 6 end)
  end)

  it("are finished by a loop inside one of them", function()
    local client = acknowledged(6)
    local ids, depth = {}, 0
    client:on("puback", function(_, id)
      ids[#ids + 1] = id
      if id == 2 then
        depth = depth + 1
        mqtt.wait(function() return #ids == 6 end, 30)
      end
    end)
    support.entries(ids, 6)
    assert.are.same({ 1, 2, 3, 4, 5, 6 }, ids)
    assert.are.equal(1, depth)
  end)
end)
