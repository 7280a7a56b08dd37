-- What is collected, and what lives although nothing refers to it.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

-- Overwrites what finished calls left on Lua's stack: the collector may still see it.
local function scrub(depth)
  local a, b, c, d, e, f, g, h -- luacheck: ignore 221
  if depth > 0 then scrub(depth - 1) end
  return a, b, c, d, e, f, g, h
end

-- Calls fn when the collector comes to it. Lua 5.1 has finalizers of userdata only.
local function on_collection(fn)
  local newproxy = rawget(_G, "newproxy")
  if newproxy then
    getmetatable(newproxy(true)).__gc = fn
  else
    setmetatable({}, { __gc = fn })
  end
end

-- Whether everything in the weak table is collected, once connections that are being closed have ended. What LuaJIT has
-- compiled holds the closures that it was compiled for.
local function collected(weak)
  local compiler = rawget(_G, "jit")
  return (pcall(kit.eventually, function()
    if compiler then compiler.flush() end
    scrub(20)
    collectgarbage()
    return next(weak) == nil
  end))
end

local function weak_table()
  return setmetatable({}, { __mode = "k" })
end

-- Calls fn in a frame of its own, so that its locals are gone afterwards.
local function apart(fn)
  fn()
end

-- Puts the client and the table that its callbacks hold into `weak`; every callback refers to the client.
local function with_callbacks(weak, client)
  local held = { client = client }
  weak[client], weak[held] = true, true
  for _, event in ipairs(support.EVENTS) do
    client:on(event, function() return held.client end)
  end
  return client, function() return held.client end
end

describe("an idle client", function()
  after_each(support.finish)

  it("is collected, with callbacks that refer to it", function()
    local weak = weak_table()
    for i = 1, 100 do with_callbacks(weak, mqtt.Client("garbage-" .. i)) end
    assert.is_true(collected(weak))
  end)

  it("is collected with user name and password functions that refer to it", function()
    local weak = weak_table()
    apart(function()
      local client
      client = mqtt.Client {
        username = function() return tostring(client) end,
        password = function() return tostring(client) end,
      }
      weak[client] = true
    end)
    assert.is_true(collected(weak))
  end)

  it("is collected after a conversation", function()
    local broker = support.broker()
    local weak = weak_table()
    local done = 0
    for i = 1, 10 do
      local client, back = with_callbacks(weak, mqtt.Client("talked-" .. i))
      client:on("offline", function() done = done + 1 end)
      client:connect("127.0.0.1", broker.port, function(c)
        c:subscribe("t", 1, back)
        c:publish("t", "x", 1, 0, function() back():close() end)
      end, back)
    end
    kit.eventually(function() return done == 10 end)
    assert.is_true(collected(weak))
  end)

  it("is collected after a failed connect, and after a cancelled one", function()
    local weak = weak_table()
    local failed = false
    apart(function()
      local client, back = with_callbacks(weak, mqtt.Client("failed"))
      client:connect("127.0.0.1", support.closed_port(), back, function() failed = back() ~= nil end)
      local other, other_back = with_callbacks(weak, mqtt.Client("cancelled"))
      other:connect("127.0.0.1", support.peer().port, other_back, other_back)
      other:close()
    end)
    kit.eventually(function() return failed end)
    assert.is_true(collected(weak))
  end)

  it("with callbacks for each call is collected too, answered or not", function()
    local weak = weak_table()
    apart(function()
      local client, peer = support.pair { callbacks = "each" }
      local _, back = with_callbacks(weak, client)
      client:publish("t", "x", 1, 0, back)
      client:subscribe("t", 1, back)
      client:unsubscribe("t", back)
      peer:read()
      client:close()
    end)
    support.finish()
    assert.is_true(collected(weak))
  end)

  it("costs no descriptor", function()
    local pid = io.open("/proc/self/stat"):read("*n")
    local function descriptors()
      local pipe = io.popen(("ls /proc/%d/fd | wc -l"):format(pid))
      local count = pipe:read("*n")
      pipe:close()
      return count
    end
    local broker = support.broker()
    local function talk(n)
      local open = 0
      for i = 1, n do
        open = open + 1
        local client = mqtt.Client("fd-" .. i)
        client:on("offline", function() open = open - 1 end)
        client:connect("127.0.0.1", broker.port, function(c) c:close() end)
      end
      kit.eventually(function() return open == 0 end)
      collectgarbage()
    end
    talk(5)
    local before = descriptors()
    talk(30)
    -- The broker is in this process and may need a moment to close its ends.
    kit.eventually(function() return descriptors() <= before end)
  end)
end)

describe("a connected client", function()
  after_each(support.finish)

  it("holds neither callback of its connect any more, only those of on", function()
    local weak = weak_table()
    local broker = support.broker()
    local client = mqtt.Client("connected")
    local connected
    client:on("connect", function() connected = true end)
    apart(function()
      local ok, nok = function() return weak end, function() return client end
      weak[ok], weak[nok] = true, true
      client:connect("127.0.0.1", broker.port, ok, nok)
    end)
    kit.eventually(function() return connected end)
    assert.is_true(collected(weak))
    client:close()
  end)
end)

describe("a client that nothing refers to", function()
  after_each(support.finish)

  it("lives and calls back while it is connecting and connected", function()
    local peer = support.peer()
    local log = {}
    local ender
    apart(function()
      local client = mqtt.Client("lonely")
      client:on("message", function(c, topic)
        log[#log + 1] = topic
        ender = function() c:close() end
      end)
      client:on("offline", function() log[#log + 1] = "offline" end)
      client:connect("127.0.0.1", peer.port, function() log[#log + 1] = "ok" end)
    end)
    collectgarbage()
    collectgarbage()
    peer:welcome()
    support.entries(log, 1)
    collectgarbage()
    collectgarbage()
    peer:send(support.packet(0x30, support.text("m") .. "x"))
    support.entries(log, 2)
    ender()
    support.entries(log, 3)
    assert.are.same({ "ok", "m", "offline" }, log)
  end)

  it("lives while it is reconnecting", function()
    local peer = support.peer()
    local connects = 0
    local last
    apart(function()
      local client = mqtt.Client("lonely")
      client:on("connect", function(c)
        connects = connects + 1
        last = c
      end)
      client:connect("127.0.0.1", peer.port, 0, { min = 0.25, max = 0.25 })
    end)
    peer:welcome()
    kit.eventually(function() return connects == 1 end)
    last = nil
    peer:drop()
    collectgarbage()
    collectgarbage()
    kit.settle()
    collectgarbage()
    peer:welcome()
    kit.eventually(function() return connects == 2 end)
    last:close()
    assert.are.equal("idle", last:state())
  end)

  it("is collected once it is idle again", function()
    local weak = weak_table()
    local peer = support.peer()
    local offline = false
    apart(function()
      local client = with_callbacks(weak, mqtt.Client("lonely"))
      client:on("offline", function() offline = true end)
      client:connect("127.0.0.1", peer.port)
    end)
    peer:welcome()
    kit.settle()
    peer:drop()
    kit.eventually(function() return offline end)
    assert.is_true(collected(weak))
  end)
end)

describe("several clients", function()
  after_each(support.finish)

  it("are each let go when they end, in whatever order, and the others live on", function()
    local weak, broker, heard = weak_table(), support.broker(), {}
    for i = 1, 5 do
      apart(function()
        local client = mqtt.Client("several-" .. i)
        weak[client] = i
        client:on("message", function(c, _, data)
          heard[i] = data
          if data == tostring(i) then c:close() end
        end)
        client:connect("127.0.0.1", broker.port, function(c) c:subscribe("t") end)
      end)
    end
    local function left()
      scrub(20)
      collectgarbage()
      local n = 0
      for _ in pairs(weak) do n = n + 1 end
      return n
    end
    kit.eventually(function()
      local subscribed = 0
      for i = 1, 5 do subscribed = subscribed + (next(broker:subscriptions("several-" .. i)) and 1 or 0) end
      return subscribed == 5
    end)
    for n, ends in ipairs { 2, 1, 4, 5, 3 } do
      broker:publish("t", tostring(ends))
      kit.eventually(function() return left() == 5 - n end)
      broker:publish("t", "round " .. n)
      kit.eventually(function()
        local who = 0
        for i = 1, 5 do
          if heard[i] == "round " .. n then who = who + 1 end
        end
        return who == 5 - n
      end)
    end
    assert.is_true(mqtt.run(30), "nothing is left that could call back")
  end)
end)

describe("a timer that nothing refers to", function()
  after_each(support.finish)

  it("lives while it is armed, and is collected after", function()
    local weak = weak_table()
    local fired = 0
    apart(function()
      local timer = tmr.create()
      weak[timer] = true
      timer:alarm(5, tmr.ALARM_SINGLE, function(t) fired = fired + (t and 1 or 0) end)
    end)
    collectgarbage()
    collectgarbage()
    kit.eventually(function() return fired == 1 end)
    assert.is_true(collected(weak))
  end)
end)

describe("the collector", function()
  after_each(support.finish)

  it("does not run for new clients where a script has stopped it", function()
    local weak = weak_table()
    collectgarbage("stop")
    finally(function() collectgarbage("restart") end)
    for i = 1, 300 do weak[mqtt.Client("kept-" .. i)] = true end
    local alive = 0
    for _ in pairs(weak) do alive = alive + 1 end
    collectgarbage("restart")
    assert.are.equal(300, alive)
    assert.is_true(collected(weak))
  end)

  it("may run a finalizer that makes clients while one is made", function()
    local made, weak = 0, weak_table()
    for i = 1, 2000 do
      on_collection(function()
        made = made + 1
        weak[mqtt.Client { clientid = "from a finalizer " .. made }] = true
      end)
      local id = "around it " .. i
      local client = mqtt.Client { clientid = id, keepalive = i }
      assert.are.equal("idle", client:state())
    end
    collectgarbage()
    assert.is_true(made > 0)
    assert.is_true(collected(weak))
  end)
end)

describe("what scripts hold", function()
  after_each(support.finish)

  it("keeps its metatable to itself", function()
    for _, object in ipairs { mqtt.Client("closed book"), tmr.create() } do
      assert.is_false(getmetatable(object))
      assert.is_false((pcall(setmetatable, object, {})))
    end
  end)

  it("has a finalizer that does no harm, whatever it is called with", function()
    local client, timer = mqtt.Client("sturdy"), tmr.create()
    local finalize = debug.getmetatable(client).__gc
    for _, other in ipairs { io.stdout, {}, 5, "client", finalize, coroutine.create(function() end) } do
      finalize(other)
    end
    finalize()
    assert.are.equal("idle", client:state())
    finalize(client)
    finalize(client)
    local ok, message = pcall(client.state, client)
    assert.is_false(ok)
    assert.matches("calling 'state' on bad self", message)
    assert.is_nil((timer:state()))
  end)
end)
