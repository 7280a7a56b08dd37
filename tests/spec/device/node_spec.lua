-- node: restarts, deep sleep, tasks, the console; the time and names of the network.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local device = require("nodemcu.device")
require("nodemcu")

describe("node", function()
  after_each(sim.reset)

  it("knows its chip", function()
    local id = node.chipid()
    assert(id >= 0 and id < 2 ^ 24 and id == math.floor(id), id)
    assert.are.equal(id, node.chipid())
    assert.are.equal(id, (select(4, node.info())))
    assert.are.equal(id, node.info("hw").chip_id)
    assert.are.equal("number", type(node.flashid()))
    assert.are.equal("3.0.0", node.info("sw_version").git_release)
    assert.are.equal("float", node.info("build_config").number_type)
    assert.has_error(function() node.info("weather") end)
  end)

  it("is started by power", function()
    assert.are.same({ 1, 0 }, { node.bootreason() })
  end)

  it("has memory, flash and a processor", function()
    assert(node.heap() > 1e6)
    assert(node.flashsize() > 0)
    assert.are.equal(node.CPU160MHZ, node.setcpufreq(node.CPU160MHZ))
    assert.are.equal(160, node.getcpufreq())
    local micros = node.uptime()
    assert(micros >= 0)
    assert.is_nil((node.LFS.get("module")))
    assert.is_nil((node.flashindex("module")))
    node.egc.setmode(node.egc.ALWAYS)
    node.osprint(true)
    node.restore()
  end)
end)

describe("node.task.post", function()
  after_each(sim.reset)

  it("runs functions in the loop, higher priorities first", function()
    local log = {}
    local function note(name)
      return function(priority) log[#log + 1] = name .. priority end
    end
    node.task.post(node.task.LOW_PRIORITY, note("a"))
    node.task.post(note("b"))
    node.task.post(node.task.HIGH_PRIORITY, note("c"))
    node.task.post(node.task.HIGH_PRIORITY, note("d"))
    assert.are.same({}, log)
    mqtt.run(5)
    assert.are.same({ "c2", "d2", "b1", "a0" }, log)
  end)

  it("can be called from a task", function()
    local count = 0
    local function again()
      count = count + 1
      if count < 3 then node.task.post(again) end
    end
    node.task.post(again)
    mqtt.run(5)
    assert.are.equal(3, count)
  end)
end)

describe("node.restart and node.dsleep", function()
  local power = device.power
  local calls

  before_each(function()
    calls = {}
    function device.power(...) calls[#calls + 1] = { ... } end
  end)

  after_each(function()
    device.power = power
    sim.reset()
  end)

  it("are the runner's", function()
    node.restart()
    node.dsleep(1000000)
    node.dsleep("5000000", 4)
    rtctime.dsleep(2000000)
    assert.are.same({ { "restart" }, { "dsleep", 1000000 }, { "dsleep", 5000000 }, { "dsleep", 2000000 } }, calls)
  end)

  it("do nothing without a time", function()
    node.dsleep()
    node.dsleep(nil, 4)
    assert.are.same({}, calls)
    assert(node.dsleepMax() > 1e9)
  end)

  it("tell a listener", function()
    local log = {}
    sim.on("restart", function() log[#log + 1] = "restart" end)
    sim.on("dsleep", function(us) log[#log + 1] = us end)
    node.restart()
    node.dsleep(7)
    assert.are.same({ "restart", 7 }, log)
  end)

  it("end the loop where there is no runner", function()
    local warnings = {}
    local warn = device.warn
    function device.warn(text) warnings[#warnings + 1] = text end
    device.power = power
    local timer = tmr.create()
    timer:alarm(60000, tmr.ALARM_SINGLE, function() end)
    node.task.post(node.restart)
    assert.is_true(mqtt.run(5))
    node.task.post(function() node.dsleep(0) end)
    assert.is_true(mqtt.run(5))
    timer:unregister()
    device.warn = warn
    assert.are.same({
      "node.restart: the loop ends here; mqtt-lua would start the script again",
      "node.dsleep: the loop ends here; mqtt-lua --awake would start the script again",
    }, warnings)
  end)

  it("keep the numbers of rtcmem, as far as the runner does", function()
    rtcmem.write32(10, 1, -2, 3000000000)
    assert.are.same({ 1, -2, -1294967296, 0 }, { rtcmem.read32(10, 4) })
    assert.are.equal(0, rtcmem.read32(127))
    assert.has_error(function() rtcmem.read32(128) end)
    assert.has_error(function() rtcmem.write32(127, 1, 2) end)
  end)
end)

describe("the console", function()
  after_each(function()
    node.output(nil)
    sim.reset()
  end)

  -- What is printed while the loop runs.
  local function printed(f)
    local log = {}
    node.output(function(text) log[#log + 1] = text end, 0)
    f()
    mqtt.run(5)
    return table.concat(log)
  end

  it("leads what is printed to a function", function()
    assert.are.equal("one\t2\tnil\n", printed(function() print("one", 2, nil) end))
  end)

  it("lets that function print", function()
    local count = 0
    node.output(function() count = count + 1 end, 0)
    print("here")
    assert.are.equal(1, count)
  end)

  it("takes lines of Lua", function()
    assert.are.equal("hello\n", printed(function() node.input("print('hello')") end))
    assert.are.equal("3\tx\n", printed(function() node.input("=1 + 2, 'x'") end))
    assert.are.equal("4\n", printed(function() node.input("2 + 2") end))
  end)

  it("waits for the rest of a chunk", function()
    assert.are.equal("1\n2\n", printed(function()
      node.input("for i = 1, 2 do")
      node.input("print(i)")
      node.input("end")
    end))
  end)

  it("prints errors and goes on", function()
    assert.matches("^stdin:1: oops\nfine\n$", printed(function()
      node.input("error('oops')")
      node.input("print('fine')")
    end))
    assert.matches("stdin:1:.*\nfine\n$", printed(function()
      node.input("x = = 1")
      node.input("print('fine')")
    end))
  end)

  it("works in the globals", function()
    printed(function() node.input("spec_global = 5") end)
    assert.are.equal(5, rawget(_G, "spec_global"))
    rawset(_G, "spec_global", nil)
  end)
end)

describe("sntp and rtctime", function()
  after_each(sim.reset)

  -- os.time may be a few milliseconds late.
  local function is_since(before, time) return time >= before and time <= os.time() + 1 end

  it("have the host's time", function()
    local before = os.time()
    local seconds, micros = rtctime.get()
    assert(is_since(before, seconds), seconds)
    assert(micros >= 0 and micros < 1e6 and micros == math.floor(micros))
    local answer
    sntp.sync("ntp.example", function(...) answer = { ... } end, function() error("never") end)
    assert.is_nil(answer)
    mqtt.run(5)
    assert(is_since(before, answer[1]), answer[1])
    assert.are.equal("ntp.example", answer[3])
    assert.are.equal("table", type(answer[4]))
    sntp.sync(nil, function() answer = nil end, nil, 1)
    mqtt.run(5)
    assert.is_nil(answer)
  end)

  it("can be set", function()
    rtctime.set(1436430589, 500000)
    local seconds, micros = rtctime.get()
    assert.are.equal(1436430589, seconds)
    assert(micros >= 500000)
    local before = os.time()
    sntp.sync()
    mqtt.run(5)
    seconds = rtctime.get()
    assert(is_since(before, seconds), seconds)
  end)

  it("pass with the clock of a test", function()
    local clock = kit.clock()
    local before, fraction = rtctime.get()
    clock:advance(90500)
    local after, other = rtctime.get()
    local passed = (after - before) * 1000000 + other - fraction
    clock:restore()
    assert(math.abs(passed - 90500000) < 10, passed)
  end)

  it("know the calendar", function()
    assert.are.same({ year = 2015, mon = 7, day = 9, hour = 8, min = 29, sec = 49, wday = 5, yday = 190 },
      rtctime.epoch2cal(1436430589))
  end)
end)

describe("net.dns", function()
  it("resolves names by the host, in the loop", function()
    local log = {}
    net.dns.resolve("localhost", function(_, ip) log[#log + 1] = ip end)
    net.dns.resolve("127.0.0.9", function(_, ip) log[#log + 1] = ip end)
    assert.are.same({}, log)
    assert.is_true(mqtt.run(5))
    table.sort(log)
    assert.are.same({ "127.0.0.1", "127.0.0.9" }, log)
  end)

  it("says nil for a name that there is not", function()
    local called, address
    net.dns.resolve("no such name", function(...) called, address = true, (select(2, ...)) end)
    kit.eventually(function() return called end, 20)
    assert.is_nil(address)
  end)

  it("raises the errors of its callback out of the loop", function()
    local err = { "own" }
    net.dns.resolve("localhost", function() error(err) end)
    local ok, got = pcall(mqtt.run, 5)
    assert.is_false(ok)
    assert.are.equal(err, got)
  end)

  it("is done before a test's time goes on", function()
    local clock, at = kit.clock(), nil
    net.dns.resolve("localhost", function() at = clock:now() end)
    clock:advance(1000)
    clock:restore()
    assert.are.equal(0, at)
  end)

  it("takes servers and asks the host's", function()
    net.dns.setdnsserver("10.0.0.1", 0)
    assert.are.equal("10.0.0.1", net.dns.getdnsserver(0))
    sim.reset()
  end)
end)
