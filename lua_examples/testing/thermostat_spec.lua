-- Tests of thermostat.lua on a PC, with busted and the test kit: no device, no broker, no waiting. Run them with
--
--   busted lua_examples/testing/thermostat_spec.lua

local kit = require("mqtt.test")

local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or ""

describe("the thermostat", function()
  local clock, broker, script, sim, temperature

  before_each(function()
    temperature = 21
    clock = kit.clock()
    broker = kit.broker { retained = { ["thermostat/target"] = "19" } }
    script = kit.run_script(folder .. "thermostat.lua", { broker = broker })
    sim = script.env.sim -- the other side of the device's pins
    sim.adc(0, function() return temperature * 10 end)
    clock:advance(0) -- it connects, and everything that follows from that
  end)

  after_each(function()
    script:stop()
    sim.reset()
    broker:stop()
    clock:restore()
  end)

  it("says that it is here, for everybody who comes later", function()
    assert.published(broker, "thermostat/state", "here")
    assert.are.equal("here", broker:retained()["thermostat/state"])
  end)

  it("takes its target from the retained message", function()
    assert.is_true(script:printed("target 19"))
  end)

  it("publishes the temperature every ten seconds", function()
    clock:advance(60 * 1000)
    assert.are.equal(6, #broker:received { topic = "thermostat/temperature", payload = "21.0" })
  end)

  it("heats below the target, and not above", function()
    temperature = 18.5
    clock:advance(10 * 1000)
    assert.are.equal(1, sim.gpio(4))
    broker:publish("thermostat/target", "15", 1)
    clock:advance(10 * 1000)
    assert.are.equal(0, sim.gpio(4))
  end)

  it("ignores a target that is no number", function()
    broker:publish("thermostat/target", "warm", 1)
    clock:advance(10 * 1000)
    assert.are.equal(0, sim.gpio(4))
  end)

  it("comes back after the broker was away for an hour", function()
    broker:stop()
    clock:advance(3600 * 1000)
    local before = #broker:received { topic = "thermostat/temperature" }
    assert.is_not.connected(script:clients()[1])
    broker:restart()
    clock:advance(90 * 1000)
    assert.connected(script:clients()[1])
    assert.is_true(#broker:received { topic = "thermostat/temperature" } > before)
  end)

  it("leaves word when it dies", function()
    broker:kill("thermostat")
    kit.eventually(function() assert.are.equal("lost", broker:retained()["thermostat/state"]) end)
  end)
end)
