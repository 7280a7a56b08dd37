-- uart: what comes in, what goes out.

local mqtt = require("mqtt")
require("nodemcu")

describe("uart", function()
  after_each(sim.reset)

  it("is set up, and says how", function()
    assert.are.equal(9600, uart.setup(1, 9600, 8, uart.PARITY_NONE, uart.STOPBITS_1, 1))
    assert.are.same({ 9600, 8, uart.PARITY_NONE, uart.STOPBITS_1 }, { uart.getconfig(1) })
  end)

  it("gives what is written to the other end", function()
    local log = {}
    sim.on("uart", function(...) log[#log + 1] = { ... } end)
    uart.write(1, "one", 13, 10, "two")
    assert.are.equal("one\13\10two", sim.uart(1))
    assert.are.equal("", sim.uart(1))
    assert.are.same({ { 1, "one" }, { 1, "\13" }, { 1, "\10" }, { 1, "two" } }, log)
  end)

  local function received(pieces, ...)
    local log = {}
    local arguments = { ... }
    arguments[#arguments + 1] = function(data) log[#log + 1] = data end
    uart.on("data", unpack(arguments))
    for _, piece in ipairs(pieces) do sim.uart(0, piece) end
    mqtt.run(5)
    return log
  end

  it("hands out what came, in pieces of a size, or up to a character", function()
    assert.are.equal("abc", table.concat(received({ "ab", "c" }, 0)))
    assert.are.same({ "ab", "cd" }, received({ "abc", "de" }, 2))
    sim.reset()
    assert.are.same({ "one\n", "two\n" }, received({ "one\ntw", "o\nthree" }, "\n"))
  end)

  it("stops without a callback, and keeps what comes for the next one", function()
    local log = {}
    uart.on("data")
    sim.uart(0, "early")
    mqtt.run(5)
    uart.on("data", 0, function(data) log[#log + 1] = data end)
    mqtt.run(5)
    assert.are.same({ "early" }, log)
  end)

  it("takes the port first on the ESP32", function()
    local log = {}
    uart.on(2, "data", 1, function(data) log[#log + 1] = data end)
    sim.uart(2, "xy")
    mqtt.run(5)
    assert.are.same({ "x", "y" }, log)
  end)
end)
