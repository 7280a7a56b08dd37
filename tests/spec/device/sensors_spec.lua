-- adc, dht and i2c: what sim says is what they read.

require("nodemcu")

describe("adc", function()
  after_each(sim.reset)

  it("reads what sim.adc says", function()
    assert.are.equal(512, adc.read(0))
    sim.adc(0, 123)
    assert.are.equal(123, adc.read(0))
  end)

  it("asks a function each time", function()
    local n = 0
    sim.adc(0, function(channel)
      n = n + 1
      return channel * 100 + n
    end)
    assert.are.same({ 1, 2 }, { adc.read(0), adc.read(0) })
  end)

  it("reads the channels of an ESP32's units", function()
    adc.setwidth(adc.ADC1, 12)
    adc.setup(adc.ADC1, 6, adc.ATTEN_11db)
    sim.adc(6, 4095)
    assert.are.equal(4095, adc.read(adc.ADC1, 6))
  end)

  it("reads the supply", function()
    assert.are.equal(3300, adc.readvdd33())
    sim.vdd33(2900)
    assert.are.equal(2900, adc.readvdd33())
    assert.are.equal(2900, node.readvdd33())
  end)

  it("needs no restart for another mode, so that no script restarts for ever", function()
    assert.is_false(adc.force_init_mode(adc.INIT_VDD33))
    assert.is_false(adc.force_init_mode(adc.INIT_ADC))
  end)
end)

describe("dht", function()
  after_each(sim.reset)

  it("reads a sensor that works, whatever pin it is at", function()
    assert.are.same({ dht.OK, 21.5, 60, 500, 0 }, { dht.read(4) })
  end)

  it("reads what sim.dht says, with thousandths for firmware without fractions", function()
    sim.dht(4, 22.25, 48.5)
    assert.are.same({ dht.OK, 22.25, 48.5, 250, 500 }, { dht.read(4) })
    assert.are.same({ dht.OK, 22.25, 48.5, 250, 500 }, { dht.read11(4) })
    sim.dht(4, -3.75, 90)
    assert.are.same({ dht.OK, -3.75, 90, -750, 0 }, { dht.readxx(4) })
    assert.are.equal(21.5, (select(2, dht.read(5))))
  end)

  it("fails when it is told to", function()
    sim.dht(4, 0, 0, dht.ERROR_TIMEOUT)
    assert.are.same({ dht.ERROR_TIMEOUT, -999, -999, 0, 0 }, { dht.read(4) })
    assert.are_not.equal(dht.OK, dht.ERROR_CHECKSUM)
  end)

  it("asks a function each time", function()
    local n = 20
    sim.dht(4, function()
      n = n + 1
      return n, 50
    end)
    assert.are.equal(21, (select(2, dht.read(4))))
    assert.are.equal(22, (select(2, dht.read(4))))
  end)
end)

describe("i2c", function()
  after_each(sim.reset)

  local function read(address, register, count)
    i2c.start(0)
    local is_there = i2c.address(0, address, i2c.TRANSMITTER)
    i2c.write(0, register)
    i2c.stop(0)
    i2c.start(0)
    i2c.address(0, address, i2c.RECEIVER)
    local bytes = i2c.read(0, count)
    i2c.stop(0)
    return is_there, bytes
  end

  before_each(function() assert.are.equal(i2c.SLOW, i2c.setup(0, 1, 2, i2c.SLOW)) end)

  it("acknowledges the addresses of devices only", function()
    sim.i2c(0x48, "\25\128")
    i2c.start(0)
    assert.is_true(i2c.address(0, 0x48, i2c.TRANSMITTER))
    assert.is_false(i2c.address(0, 0x49, i2c.TRANSMITTER))
    i2c.stop(0)
    sim.i2c(0x48, nil)
    i2c.start(0)
    assert.is_false(i2c.address(0, 0x48, i2c.TRANSMITTER))
  end)

  it("reads registers from the one that was written", function()
    sim.i2c(0x48, "\1\2\3\4")
    local is_there, bytes = read(0x48, 1, 2)
    assert.is_true(is_there)
    assert.are.equal("\2\3", bytes)
    assert.are.equal("\4\0", (select(2, read(0x48, 3, 2))))
    assert.are.equal("\255\255", (select(2, read(0x10, 0, 2))))
  end)

  it("writes registers", function()
    local registers = { [0] = 9 }
    sim.i2c(0x20, registers)
    i2c.start(0)
    i2c.address(0, 0x20, i2c.TRANSMITTER)
    assert.are.equal(5, i2c.write(0, 0, 7, { 8 }, "\1\2"))
    i2c.stop(0)
    assert.are.same({ [0] = 7, 8, 1, 2 }, registers)
  end)

  it("asks functions", function()
    local written
    sim.i2c(0x30, {
      write = function(bytes) written = bytes end,
      read = function(count) return ("x"):rep(count) end,
    })
    assert.are.equal("xxx", (select(2, read(0x30, 65, 3))))
    assert.are.equal("A", written)
  end)

  it("has to be set up first", function()
    assert.has_error(function() i2c.start(1) end)
  end)
end)
