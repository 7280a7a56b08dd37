-- What tests/spec/tmr_spec.lua does not have: the semantics of both generations of tmr to the letter.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local device = require("nodemcu.device")
local nodemcu = require("nodemcu")

describe("tmr", function()
  local clock

  before_each(function() clock = kit.clock() end)
  after_each(function() clock:restore() end)

  -- Lets time pass in steps of a millisecond.
  local function pass(ms)
    for _ = 1, ms do
      clock:advance(1)
      while mqtt.poll() > 0 do end -- luacheck: ignore 542
    end
  end

  local function results(...) return { n = select("#", ...), ... } end

  it("returns what the manual says", function()
    local timer = tmr.create()
    assert.are.same({ n = 0 }, results(timer:register(10, tmr.ALARM_AUTO, function() end)))
    assert.are.same({ n = 1, true }, results(timer:start()))
    assert.are.same({ n = 1, false }, results(timer:start()))
    assert.are.same({ n = 1, true }, results(timer:start(true)))
    assert.are.same({ n = 2, true, tmr.ALARM_AUTO }, results(timer:state()))
    assert.are.same({ n = 0 }, results(timer:interval(20)))
    assert.are.same({ n = 1, true }, results(timer:stop()))
    assert.are.same({ n = 1, false }, results(timer:stop()))
    assert.are.same({ n = 2, false, tmr.ALARM_AUTO }, results(timer:state()))
    assert.are.same({ n = 0 }, results(timer:unregister()))
    assert.is_nil((timer:state()))
    assert.are.same({ n = 1, false }, results(timer:start()))
    assert.are.same({ n = 1, true }, results(timer:alarm(10, tmr.ALARM_SINGLE, function() end)))
    timer:unregister()
    assert.are.same({ n = 1, true }, results(tmr.alarm(3, 10, tmr.ALARM_SINGLE, function() end)))
    assert.are.same({ n = 1, true }, results(tmr.stop(3)))
    assert.are.same({ n = 1, false }, results(tmr.stop(3)))
    assert.are.same({ n = 1, true }, results(tmr.start(3)))
    assert.are.same({ n = 0 }, results(tmr.unregister(3)))
  end)

  it("forgets a single alarm when it fires, before its callback runs", function()
    local timer, state, again = tmr.create(), nil, nil
    timer:alarm(5, tmr.ALARM_SINGLE, function(it)
      state = results(it:state())
      again = it:start()
    end)
    pass(5)
    assert.is_nil(state[1])
    assert.is_false(again)
  end)

  it("lets a callback arm its own timer again, in every mode and with another function", function()
    local log = {}
    local function second() log[#log + 1] = "second" end
    tmr.create():alarm(5, tmr.ALARM_SINGLE, function(it)
      log[#log + 1] = "first"
      it:alarm(5, tmr.ALARM_SINGLE, second)
    end)
    tmr.alarm(0, 7, tmr.ALARM_AUTO, function()
      log[#log + 1] = "auto"
      tmr.alarm(0, 20, tmr.ALARM_SINGLE, function() log[#log + 1] = "replaced" end)
    end)
    pass(30)
    assert.are.same({ "first", "auto", "second", "replaced" }, log)
  end)

  it("stops and unregisters in a callback", function()
    local count = 0
    local timer = tmr.create()
    timer:alarm(2, tmr.ALARM_AUTO, function(it)
      count = count + 1
      if count == 2 then it:stop() end
    end)
    pass(10)
    assert.are.equal(2, count)
    assert.is_true(timer:start())
    pass(2)
    assert.are.equal(3, count)
    timer:unregister()
    pass(10)
    assert.are.equal(3, count)
  end)

  it("leaves out a timer that another one of the same moment has stopped", function()
    local log = {}
    local first, second = tmr.create(), tmr.create()
    first:alarm(5, tmr.ALARM_SINGLE, function()
      log[#log + 1] = "first"
      second:stop()
    end)
    second:alarm(5, tmr.ALARM_SINGLE, function() log[#log + 1] = "second" end)
    pass(10)
    assert.are.same({ "first" }, log)
  end)

  it("starts an interval anew when it is changed", function()
    local count = 0
    local timer = tmr.create()
    timer:alarm(10, tmr.ALARM_AUTO, function() count = count + 1 end)
    pass(8)
    timer:interval(10)
    pass(8)
    assert.are.equal(0, count)
    pass(2)
    assert.are.equal(1, count)
    timer:unregister()
  end)

  it("keeps a semi-automatic timer for another start", function()
    local count = 0
    local timer = tmr.create()
    timer:alarm(3, tmr.ALARM_SEMI, function() count = count + 1 end)
    pass(10)
    assert.are.equal(1, count)
    assert.are.same({ n = 2, false, tmr.ALARM_SEMI }, results(timer:state()))
    timer:start()
    pass(3)
    assert.are.equal(2, count)
    timer:unregister()
  end)

  it("takes intervals from 1 ms to what the device's counter holds", function()
    local timer = tmr.create()
    for _, interval in ipairs { 0, -1, 6870948, 1e10, 0 / 0, 1 / 0, "x", {} } do
      assert.has_error(function() timer:alarm(interval, tmr.ALARM_SINGLE, function() end) end)
      assert.has_error(function() tmr.alarm(1, interval, tmr.ALARM_SINGLE, function() end) end)
    end
    assert.has_error(function() timer:interval(0) end)
    local fired = false
    timer:alarm(6870947, tmr.ALARM_SINGLE, function() fired = true end)
    clock:advance(6870946)
    mqtt.poll()
    assert.is_false(fired)
    clock:advance(1)
    mqtt.poll()
    assert.is_true(fired)
  end)

  it("cuts fractions off", function()
    local fired = false
    tmr.alarm("2", 1000 / 300, tmr.ALARM_SINGLE, function() fired = true end)
    clock:advance(2)
    mqtt.poll()
    assert.is_false(fired)
    clock:advance(1)
    mqtt.poll()
    assert.is_true(fired)
    assert.has_error(function() tmr.create():alarm(0.9, tmr.ALARM_SINGLE, function() end) end)
    tmr.delay(1.5)
  end)

  it("wants a function, a mode and a timer", function()
    for _, f in ipairs {
      function() tmr.alarm(1, 10, tmr.ALARM_SINGLE, nil) end,
      function() tmr.alarm(1, 10, tmr.ALARM_SINGLE) end,
      function() tmr.alarm(1, 10, 3, function() end) end,
      function() tmr.alarm(7, 10, 0, function() end) end,
      function() tmr.alarm(-1, 10, 0, function() end) end,
      function() tmr.create():alarm(10, tmr.ALARM_SINGLE, nil) end,
      function() tmr.stop() end,
      function() tmr.create().alarm({}, 10, 0, function() end) end,
    } do
      assert.has_error(f)
    end
    assert.is_nil((tmr.state(1)), "nothing was registered")
  end)

  it("tells the time since the start", function()
    local micros, seconds = tmr.now(), tmr.time()
    clock:advance(2500)
    assert.are.equal(2500000, (tmr.now() - micros) % 2 ^ 31)
    assert(tmr.time() - seconds >= 2)
  end)
end)

describe("nodemcu.advanceTime", function()
  it("moves the clock of the test", function()
    local clock = kit.clock()
    finally(function() clock:restore() end)
    local ticks = 0
    local timer = tmr.create()
    timer:alarm(1000, tmr.ALARM_AUTO, function() ticks = ticks + 1 end)
    nodemcu.advanceTime(3600 * 1000)
    timer:unregister()
    assert.are.equal(3600, ticks)
    assert.are.equal(3600 * 1000, clock:now())
  end)

  it("says that there is none", function()
    kit.clock():restore()
    local ok, message = pcall(function() nodemcu.advanceTime(1) end)
    assert.is_false(ok)
    assert.matches("tmr_spec%.lua:%d+: advanceTime moves the clock of a test", message)
  end)
end)

describe("tmr.softwd", function()
  local clock, power, warn, kinds

  before_each(function()
    clock, kinds = kit.clock(), {}
    power, warn = device.power, device.warn
    function device.power(kind) kinds[#kinds + 1] = kind end
    function device.warn() end
  end)

  after_each(function()
    tmr.softwd(-1)
    device.power, device.warn = power, warn
    clock:restore()
  end)

  it("restarts when it is not called again in time", function()
    tmr.softwd(10000)
    clock:advance(9999000)
    tmr.softwd(3.5)
    clock:advance(2900)
    assert.are.same({}, kinds)
    clock:advance(200)
    assert.are.same({ "restart" }, kinds)
    clock:advance(20000)
    assert.are.same({ "restart" }, kinds)
  end)

  it("is stopped by a negative number", function()
    tmr.softwd(1)
    tmr.softwd(-1)
    clock:advance(5000)
    assert.are.same({}, kinds)
    assert.has_error(function() tmr.softwd() end)
  end)
end)
