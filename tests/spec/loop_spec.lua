-- The event loop: run, poll, wait, stop, and the descriptor for other loops.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local kit = require("mqtt.test")
local socket = require("socket")
local support = require("tests.spec.support")

local text, packet = support.text, support.packet

-- A timer that fires once.
local function after(milliseconds, fn)
  local timer = tmr.create()
  timer:alarm(milliseconds, tmr.ALARM_SINGLE, fn or function() end)
  return timer
end

-- Seconds that fn takes, and what it returns.
local function timed(fn, ...)
  local start = socket.gettime()
  local result = fn(...)
  return socket.gettime() - start, result
end

describe("mqtt.run", function()
  after_each(support.finish)

  it("returns true at once when there is nothing to wait for", function()
    assert.is_true(support.can_take_less_than(0.5, mqtt.run))
  end)

  it("ends when the last client is idle and the last timer fired", function()
    local broker = support.broker()
    local client = support.client("run")
    local log = {}
    client:on("offline", function()
      log[#log + 1] = "offline"
      after(1, function() log[#log + 1] = "timer" end)
    end)
    client:connect("127.0.0.1", broker.port, function(c) c:close() end)
    assert.is_true(mqtt.run(5))
    assert.are.same({ "offline", "timer" }, log)
  end)

  it("ends after a failed connect", function()
    local failed = false
    support.client("run"):connect("127.0.0.1", support.closed_port(), nil, nil, nil, function() failed = true end)
    assert.is_true(mqtt.run(5))
    assert.is_true(failed)
  end)

  it("returns false on timeout, while something lives", function()
    support.pair()
    support.can_take_less_than(1, function()
      local took, result = timed(mqtt.run, 0.05)
      assert.is_false(result)
      assert(took >= 0.05, took)
    end)
  end)

  it("takes odd timeouts: NaN and negative are 0, infinite is for ever", function()
    support.pair()
    for _, timeout in ipairs { 0, -1, -math.huge, 0 / 0, "0" } do assert.is_false(mqtt.run(timeout)) end
    for _, timeout in ipairs { math.huge, 1e300, 1e19 } do
      after(5, mqtt.stop)
      assert.is_true(mqtt.run(timeout))
    end
  end)
end)

describe("mqtt.stop", function()
  after_each(support.finish)

  it("ends the running run, from a callback", function()
    support.pair()
    after(1, mqtt.stop)
    assert.is_true(mqtt.run(5))
  end)

  it("ends the next run when none is running", function()
    support.pair()
    support.can_take_less_than(0.5, function()
      mqtt.stop()
      assert.is_true(mqtt.run(5))
    end)
    assert.is_false(mqtt.run(0.01))
  end)
end)

describe("mqtt.poll", function()
  after_each(support.finish)

  it("returns the number of callbacks it ran", function()
    local client, peer = support.pair()
    assert.are.equal(0, mqtt.poll())
    client:on("message", function() end)
    peer:send(packet(0x30, text("m")):rep(3))
    local count = 0
    while count < 3 do
      local ran = mqtt.poll(5)
      assert(ran > 0)
      count = count + ran
    end
    assert.are.equal(3, count)
    assert.are.equal(0, mqtt.poll())
  end)

  it("tells of what was sent before its callback was there", function()
    local client = support.pair()
    local ids = {}
    kit.settle() -- a message after a pause is sent before publish returns
    client:publish("t", "x", 0)
    client:on("puback", function(_, id) ids[#ids + 1] = tostring(id) end)
    client:publish("t", "x", 0)
    support.entries(ids, 2)
    assert.are.same({ "nil", "nil" }, ids)
  end)

  it("waits for nothing by default", function()
    support.pair()
    support.can_take_less_than(0.05, mqtt.poll)
  end)

  it("waits at most its timeout, and no longer than it takes", function()
    local _, peer = support.pair()
    support.can_take_less_than(1, function()
      local took = timed(mqtt.poll, 0.05)
      assert(took >= 0.05, took)
    end)
    support.can_take_less_than(1, function()
      peer:send(packet(0x30, text("m")))
      mqtt.poll(5)
    end)
    support.can_take_less_than(1, function()
      after(10)
      mqtt.poll(5)
    end)
  end)
end)

describe("mqtt.wait", function()
  after_each(support.finish)

  it("returns the predicate's value", function()
    local value = {}
    assert.are.equal(value, mqtt.wait(function() return value end))
    local ticks = 0
    after(1, function() ticks = 5 end)
    assert.are.equal(5, mqtt.wait(function() return ticks > 0 and ticks end, 5))
  end)

  it("returns nil and \"timeout\"", function()
    assert.are.same({ nil, "timeout" }, { mqtt.wait(function() return false end, 0.02) })
  end)

  it("asks again when it has sent something, though nobody hears of that", function()
    local client = support.pair()
    -- without being asked again it would be told after two milliseconds more, when the other thread comes by
    support.can_take_less_than(0.0025, function()
      mqtt.poll(0.001) -- who has just waited does not send at once what it publishes
      local published = false
      local function is_sent()
        if not published then published = client:publish("t", "x", 0) end
        return client:pending() == 0
      end
      assert(mqtt.wait(is_sent, 5))
    end)
  end)

  it("lets the predicate's error out", function()
    local problem = {}
    local ok, err = pcall(mqtt.wait, function() error(problem) end, 1)
    assert.is_false(ok)
    assert.are.equal(problem, err)
  end)

  it("sends what the predicate published, also after an error has left a loop", function()
    local client, peer = support.pair()
    client:on("message", function() error("left") end)
    peer:send(packet(0x30, text("m")))
    assert.is_false(pcall(mqtt.run, 5))
    assert.is_true(mqtt.wait(function() return (client:publish("t", "x")) end, 5))
    assert.are.equal(packet(0x30, text("t") .. "x"), peer:read())
  end)
end)

describe("mqtt.fileno", function()
  after_each(support.finish)

  -- What luasocket's select wants of an object.
  local function selectable()
    return { getfd = mqtt.fileno, dirty = function() return false end }
  end

  local function readable(timeout)
    local ready = socket.select({ selectable() }, nil, timeout)
    return #ready == 1
  end

  it("is a descriptor from the beginning", function()
    local fd = mqtt.fileno()
    assert.are.equal("number", type(fd))
    assert(fd > 2)
    assert.are.equal(fd, mqtt.fileno())
  end)

  it("is readable while something is pending, and only then", function()
    local client, peer = support.pair()
    local calls = 0
    client:on("message", function() calls = calls + 1 end)
    while mqtt.poll() > 0 do end -- luacheck: ignore 542
    assert.is_false(readable(0))
    peer:send(packet(0x30, text("m")))
    assert.is_true(readable(5))
    assert.is_true(readable(0))
    kit.eventually(function() return calls == 1 end)
    mqtt.poll()
    assert.is_false(readable(0))
  end)

  it("is readable when an error has left the loop before all had run", function()
    local client, peer = support.pair()
    local calls = 0
    client:on("message", function()
      calls = calls + 1
      if calls == 1 then error("on purpose") end
    end)
    while mqtt.poll() > 0 do end -- luacheck: ignore 542
    assert.is_false(readable(0))
    peer:send(packet(0x30, text("m")):rep(2))
    assert.is_false((pcall(mqtt.wait, function() return calls == 2 end, 5)))
    assert.are.equal(1, calls)
    assert.is_true(readable(0))
    assert.are.equal(1, mqtt.poll())
    assert.is_false(readable(0))
  end)

  it("covers timers", function()
    local fired = false
    after(10, function() fired = true end)
    -- the end of an earlier test's connection may come first
    while not fired do
      assert.is_true(readable(5))
      mqtt.poll()
    end
  end)

  it("covers timers also after stop in the callback of one", function()
    local beats = 0
    local timer = tmr.create()
    timer:alarm(10, tmr.ALARM_AUTO, function()
      beats = beats + 1
      if beats == 2 then mqtt.stop() end
    end)
    assert.is_true(mqtt.run(30))
    assert.are.equal(2, beats)
    while beats < 4 do
      assert.is_true(readable(5))
      mqtt.poll()
    end
    timer:unregister()
  end)

  it("covers the log", function()
    local lines = 0
    mqtt.trace(function() lines = lines + 1 end)
    local _, peer = support.pair()
    kit.settle()
    lines = 0
    peer:send(packet(0x30, text("m")))
    assert.is_true(readable(5))
    while readable(0) do mqtt.poll() end
    assert(lines > 0)
  end)

  it("drives a whole conversation from luasocket's select", function()
    local broker = support.broker()
    local client = support.client("select")
    local got
    client:on("message", function(_, _, data) got = data end)
    client:connect("127.0.0.1", broker.port, function(c)
      c:subscribe("echo", 1, function() c:publish("echo", "hello", 1) end)
    end)
    local deadline = socket.gettime() + 20
    while not got do
      assert(socket.gettime() < deadline)
      if readable(1) then mqtt.poll() end
    end
    assert.are.equal("hello", got)
  end)
end)

describe("mqtt.pollable", function()
  after_each(support.finish)

  it("is what luasocket's select takes", function()
    local _, peer = support.pair()
    while mqtt.poll() > 0 do end -- luacheck: ignore 542
    assert.are.same({}, (socket.select({ mqtt.pollable }, nil, 0)))
    peer:send(packet(0x30, text("m")))
    assert.are.equal(mqtt.pollable, socket.select({ mqtt.pollable }, nil, 5)[1])
  end)

  it("is what cqueues asks for", function()
    local function get(name)
      local value = mqtt.pollable[name]
      if type(value) == "function" then value = value(mqtt.pollable) end
      return value
    end
    assert.are.equal(mqtt.fileno(), get("pollfd"))
    assert.are.equal("r", get("events"))
    local timeout = get("timeout")
    assert(timeout == nil or type(timeout) == "number")
  end)
end)

describe("waiting", function()
  after_each(support.finish)

  it("looks at the socket although callbacks publish without end", function()
    local client, peer = support.pair()
    local published, late = 0, {}
    peer.link:settimeout(0)
    client:on("message", function(_, _, data)
      late[#late + 1] = published - tonumber(data)
      if #late == 5 then mqtt.stop() end
    end)
    client:on("puback", function()
      published = published + 1
      peer.link:receive(65536)
      if published % 5000 == 0 then peer:send(packet(0x30, text("m") .. published)) end
      client:publish("t", "", 0, 0)
    end)
    mqtt.run(0.01) -- so that it has waited for the socket before
    client:publish("t", "", 0, 0)
    assert.is_true(mqtt.run(20))
    table.sort(late)
    assert(late[3] < 5000, late[3])
  end)

  it("uses no processor time", function()
    local broker = support.broker()
    support.connected(broker.port)
    local before = os.clock()
    mqtt.run(0.5)
    assert(os.clock() - before < 0.1)
  end)
end)

describe("no call holds the Lua thread up:", function()
  after_each(support.finish)

  -- Far below what holding up would take.
  local LONGEST = 0.5

  it("connect to a name that has to be looked up, or to a host that does not answer", function()
    local client = support.client { clientid = "id", connect_timeout = 2 }
    for _, host in ipairs { "no.such.host.invalid", "192.0.2.1" } do
      support.can_take_less_than(LONGEST, function() client:connect(host) end)
    end
  end)

  it("publish and close while the broker does not read", function()
    local client, peer = support.pair()
    local payload = ("x"):rep(1000000)
    for _ = 1, 20 do
      local took = timed(function() client:publish("t", payload) end)
      assert(took < LONGEST, took)
    end
    local took = timed(function() client:close() end)
    assert(took < LONGEST, took)
    peer:drop()
  end)
end)
