-- gpio and pwm: what a script drives and what the world does.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
require("nodemcu")

describe("gpio", function()
  after_each(sim.reset)

  it("keeps what a script writes", function()
    gpio.mode(1, gpio.OUTPUT)
    assert.are.equal(0, gpio.read(1))
    gpio.write(1, gpio.HIGH)
    assert.are.equal(1, gpio.read(1))
    assert.are.equal(1, sim.gpio(1))
    gpio.write(1, gpio.LOW)
    assert.are.equal(0, sim.gpio(1))
  end)

  it("reads what the world drives an input to, else its pull-up", function()
    gpio.mode(2, gpio.INPUT)
    assert.are.equal(0, gpio.read(2))
    gpio.mode(2, gpio.INPUT, gpio.PULLUP)
    assert.are.equal(1, gpio.read(2))
    sim.gpio(2, 0)
    assert.are.equal(0, gpio.read(2))
    sim.gpio(2, true)
    assert.are.equal(1, gpio.read(2))
  end)

  it("remembers a level that was set before the pin was", function()
    sim.gpio(3, 1)
    gpio.mode(3, gpio.INT)
    assert.are.equal(1, gpio.read(3))
  end)

  it("drives an open drain low only", function()
    gpio.mode(4, gpio.OPENDRAIN, gpio.PULLUP)
    gpio.write(4, 1)
    sim.gpio(4, 0)
    assert.are.equal(0, gpio.read(4))
    sim.gpio(4, 1)
    assert.are.equal(1, gpio.read(4))
    gpio.write(4, 0)
    assert.are.equal(0, gpio.read(4))
  end)

  it("tells a listener what is written", function()
    local log = {}
    sim.on("gpio", function(...) log[#log + 1] = { ... } end)
    gpio.mode(1, gpio.OUTPUT)
    gpio.write(1, 1)
    gpio.write(1, 0)
    assert.are.same({ { 1, 1 }, { 1, 0 } }, log)
    sim.on("gpio", nil)
    gpio.write(1, 1)
    assert.are.equal(2, #log)
  end)
end)

describe("gpio.trig", function()
  after_each(sim.reset)

  -- The calls that come of the levels, one after the other.
  local function calls(kind, ...)
    local log = {}
    gpio.mode(5, gpio.INT)
    gpio.trig(5, kind, function(level, when, count)
      assert(when >= 0)
      log[#log + 1] = level .. "/" .. count
    end)
    for _, level in ipairs { ... } do sim.gpio(5, level) end
    assert.is_true(mqtt.run(5))
    return table.concat(log, " ")
  end

  it("fires for the edges that were asked for", function()
    assert.are.equal("1/1 1/1", calls("up", 1, 0, 1))
    sim.reset()
    assert.are.equal("0/1", calls("down", 1, 0, 1))
    sim.reset()
    assert.are.equal("1/1 0/1 1/1", calls("both", 1, 0, 1))
    sim.reset()
    assert.are.equal("1/1", calls("high", 1, 0))
    sim.reset()
    assert.are.equal("0/1", calls("low", 1, 0))
  end)

  it("fires for changes only", function()
    assert.are.equal("1/1", calls("both", 0, 1, 1, 1))
  end)

  it("fires in the loop, not inside of sim.gpio", function()
    local fired = false
    gpio.mode(5, gpio.INT)
    gpio.trig(5, "up", function() fired = true end)
    sim.gpio(5, 1)
    assert.is_false(fired)
    kit.eventually(function() return fired end)
  end)

  it("is taken away by none, by nothing, and by another mode", function()
    for _, remove in ipairs {
      function() gpio.trig(5, "none") end, function() gpio.trig(5) end, function() gpio.mode(5, gpio.INPUT) end,
    } do
      local fired = false
      gpio.mode(5, gpio.INT)
      gpio.trig(5, "both", function() fired = true end)
      remove()
      sim.gpio(5, 1)
      sim.gpio(5, 0)
      mqtt.run(5)
      assert.is_false(fired)
    end
  end)

  it("keeps the callback when only the edge is changed, inside of it too", function()
    local log = {}
    gpio.mode(5, gpio.INT)
    gpio.trig(5, "up", function(level)
      log[#log + 1] = level
      gpio.trig(5, level == gpio.HIGH and "down" or "up")
    end)
    sim.gpio(5, 1)
    mqtt.run(5)
    sim.gpio(5, 0)
    mqtt.run(5)
    sim.gpio(5, 1)
    mqtt.run(5)
    assert.are.same({ 1, 0, 1 }, log)
  end)

  it("gives pin and level with the ESP32's constants", function()
    local log = {}
    gpio.config { gpio = { 18, 19 }, dir = gpio.IN, pull = gpio.PULL_UP }
    gpio.trig(18, gpio.INTR_UP_DOWN, function(...) log[#log + 1] = { ... } end)
    sim.gpio(18, 0)
    mqtt.run(5)
    assert.are.same({ { 18, 0 } }, log)
    gpio.trig(18, gpio.INTR_DISABLE)
    sim.gpio(18, 1)
    mqtt.run(5)
    assert.are.equal(1, #log)
  end)
end)

describe("gpio.serout", function()
  after_each(sim.reset)

  local function levels(...)
    local log = {}
    sim.on("gpio", function(_, level) log[#log + 1] = level end)
    gpio.mode(1, gpio.OUTPUT)
    gpio.serout(1, ...)
    return log
  end

  it("toggles the pin after each delay but the last", function()
    assert.are.same({ 1, 0, 1 }, levels(gpio.HIGH, { 30, 70, 30 }))
    assert.are.same({ 0, 1, 0, 1 }, levels(gpio.LOW, { 30, 70 }, 2))
  end)

  it("calls back when it is through", function()
    local clock = kit.clock()
    local is_done = false
    levels(gpio.HIGH, { 5000, 95000 }, 10, function() is_done = true end)
    clock:advance(999)
    mqtt.poll()
    assert.is_false(is_done)
    clock:advance(1)
    mqtt.poll()
    assert.is_true(is_done)
    clock:restore()
  end)
end)

describe("pwm", function()
  after_each(sim.reset)

  it("is seen by sim.pwm and a listener", function()
    local log = {}
    sim.on("pwm", function(...) log[#log + 1] = { ... } end)
    pwm.setup(1, 500, 512)
    assert.are.same({ 0, 500 }, { sim.pwm(1) })
    pwm.start(1)
    assert.are.same({ 512, 500 }, { sim.pwm(1) })
    assert.are.equal(100, pwm.setduty(1, 100))
    assert.are.equal(100, pwm.getduty(1))
    assert.are.equal(50, pwm.setclock(1, 50))
    assert.are.equal(50, pwm.getclock(1))
    pwm.stop(1)
    pwm.close(1)
    assert.are.equal(0, (sim.pwm(1)))
    assert.are.same({ { 1, 512, 500 }, { 1, 100, 500 }, { 1, 100, 50 }, { 1, 0, 50 }, { 1, 0, 50 } }, log)
  end)

  it("has to be set up first", function()
    assert.has_error(function() pwm.start(2) end)
    assert.has_error(function() pwm.setup(2, 1001, 0) end)
    assert.has_error(function() pwm.setup(2, 1000, 1024) end)
  end)
end)
