-- tmr: timers of both generations, and the time.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local kit = require("mqtt.test")
local socket = require("socket")
local support = require("tests.spec.support")

describe("tmr.create", function()
  after_each(support.finish)

  it("makes a timer that fires once", function()
    local calls = {}
    local timer = tmr.create()
    assert.is_true(timer:alarm(5, tmr.ALARM_SINGLE, function(...) calls[#calls + 1] = { ... } end))
    assert.is_true(mqtt.run(5))
    assert.are.same({ { timer } }, calls)
  end)

  it("makes a timer that fires again and again", function()
    local calls = 0
    local timer = tmr.create()
    timer:alarm(2, tmr.ALARM_AUTO, function(t)
      calls = calls + 1
      if calls == 3 then t:unregister() end
    end)
    assert.is_true(mqtt.run(5))
    assert.are.equal(3, calls)
  end)

  it("makes a timer that is started again by hand", function()
    local calls = 0
    local timer = tmr.create()
    timer:alarm(2, tmr.ALARM_SEMI, function() calls = calls + 1 end)
    assert.is_true(mqtt.run(5))
    assert.are.equal(1, calls)
    assert.is_true(timer:start())
    assert.is_true(mqtt.run(5))
    assert.are.equal(2, calls)
    timer:unregister()
  end)

  it("fires not before its time", function()
    local start = socket.gettime()
    local fired
    tmr.create():alarm(50, tmr.ALARM_SINGLE, function() fired = socket.gettime() end)
    mqtt.run(5)
    assert(fired - start >= 0.049, fired - start)
  end)

  it("registers without starting, starts, stops", function()
    local calls = 0
    local timer = tmr.create()
    timer:register(2, tmr.ALARM_SINGLE, function() calls = calls + 1 end)
    assert.is_true(mqtt.run(1))
    assert.are.equal(0, calls)
    assert.is_true(timer:start())
    assert.is_true(timer:stop())
    assert.is_false(timer:stop())
    assert.is_true(mqtt.run(1))
    assert.are.equal(0, calls)
    assert.is_true(timer:start())
    assert.is_true(mqtt.run(5))
    assert.are.equal(1, calls)
  end)

  it("refuses to start what is not registered", function()
    local timer = tmr.create()
    assert.is_false(timer:start())
    timer:alarm(1000, tmr.ALARM_AUTO, function() end)
    timer:unregister()
    assert.is_false(timer:start())
  end)

  it("tells its state: whether it runs, and its mode", function()
    local timer = tmr.create()
    assert.is_nil((timer:state()))
    timer:register(1000, tmr.ALARM_AUTO, function() end)
    assert.are.same({ false, tmr.ALARM_AUTO }, { timer:state() })
    timer:start()
    assert.are.same({ true, tmr.ALARM_AUTO }, { timer:state() })
    timer:unregister()
    assert.is_nil((timer:state()))
  end)

  it("changes its interval", function()
    local calls = 0
    local timer = tmr.create()
    timer:register(60000, tmr.ALARM_SINGLE, function() calls = calls + 1 end)
    timer:interval(2)
    timer:start()
    mqtt.run(5)
    assert.are.equal(1, calls)
  end)

  it("runs several in the order of their times", function()
    local log = {}
    for _, ms in ipairs { 30, 10, 20 } do
      tmr.create():alarm(ms, tmr.ALARM_SINGLE, function() log[#log + 1] = ms end)
    end
    mqtt.run(5)
    assert.are.same({ 10, 20, 30 }, log)
  end)

  it("takes its turn behind the messages that came before it was due", function()
    local broker = support.broker()
    local client = support.connected(broker.port)
    local log, subscribed = {}, false
    client:on("message", function() log[#log + 1] = "message" end)
    client:subscribe("t", 0, function() subscribed = true end)
    kit.eventually(function() return subscribed end)
    -- In a callback, while which the loop stands still.
    tmr.create():alarm(1, tmr.ALARM_SINGLE, function()
      local before = mqtt.stats().messages_in[0]
      broker:publish("t", "x")
      local limit = socket.gettime() + 20
      while mqtt.stats().messages_in[0] == before do assert(socket.gettime() < limit) end
      tmr.create():alarm(1, tmr.ALARM_SINGLE, function() log[#log + 1] = "timer" end)
      local start = tmr.now()
      while (tmr.now() - start) % 2 ^ 31 < 5000 do end -- luacheck: ignore 542
    end)
    kit.eventually(function() return #log == 2 end)
    assert.are.same({ "message", "timer" }, log)
  end)

  it("can be armed again from its own callback", function()
    local calls = 0
    local function again(timer)
      calls = calls + 1
      if calls < 3 then timer:alarm(1, tmr.ALARM_SINGLE, again) end
    end
    tmr.create():alarm(1, tmr.ALARM_SINGLE, again)
    mqtt.run(5)
    assert.are.equal(3, calls)
  end)
end)

describe("the static timers of old scripts", function()
  after_each(support.finish)

  it("are known by a number", function()
    local log = {}
    tmr.alarm(0, 2, tmr.ALARM_SINGLE, function() log[#log + 1] = "zero" end)
    tmr.alarm("6", 30, 0, function() log[#log + 1] = "six" end)
    assert.is_true(mqtt.run(5))
    assert.are.same({ "zero", "six" }, log)
  end)

  it("repeat with 1, until stopped", function()
    local calls = 0
    tmr.alarm(1, 2, 1, function()
      calls = calls + 1
      if calls == 3 then tmr.stop(1) end
    end)
    assert.is_true(mqtt.run(5))
    assert.are.equal(3, calls)
    tmr.unregister(1)
  end)

  it("are replaced by another alarm of the same number", function()
    local log = {}
    tmr.alarm(2, 10, 0, function() log[#log + 1] = "old" end)
    tmr.alarm(2, 10, 0, function() log[#log + 1] = "new" end)
    mqtt.run(5)
    assert.are.same({ "new" }, log)
  end)
end)

describe("the time", function()
  it("is in microseconds by tmr.now, and wraps at 31 bits", function()
    local first = tmr.now()
    assert(first >= 0 and first < 2 ^ 31)
    assert.are.equal(first, math.floor(first))
    tmr.delay(2000)
    local passed = (tmr.now() - first) % 2 ^ 31
    assert(passed >= 2000 and passed < 1e6, passed)
  end)

  it("is in whole seconds by tmr.time", function()
    local time = tmr.time()
    assert.are.equal(time, math.floor(time))
    assert(time >= 0)
  end)

  it("has the names of the modes", function()
    assert.are.same({ 0, 1, 2 }, { tmr.ALARM_SINGLE, tmr.ALARM_AUTO == 1 and 1, tmr.ALARM_SEMI == 2 and 2 })
  end)
end)
