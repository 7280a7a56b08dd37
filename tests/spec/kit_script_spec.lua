-- kit.run_script: device scripts under test, each in an environment of its own.

local kit = require("mqtt.test")
local support = require("tests.spec.support")

describe("kit.run_script", function()
  local script, clock

  -- A folder with these files.
  local function project(files)
    local folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
    finally(function() os.execute("rm -r " .. folder) end)
    for name, source in pairs(files) do
      local file = assert(io.open(folder .. "/" .. name, "wb"))
      file:write(source)
      file:close()
    end
    return folder
  end

  -- Runs a script of these lines.
  local function run(source, options)
    script = kit.run_script(project { ["main.lua"] = source } .. "/main.lua", options)
    return script
  end

  after_each(function()
    if script then script:stop() end
    support.finish()
    if clock then clock:restore() end
    script, clock = nil, nil
  end)

  it("keeps globals and prints to itself", function()
    run("counter = (counter or 0) + 1; print('counted', counter, arg[1]); local x = _G.counter; seen = x",
      { args = { "first" } })
    assert.is_nil(rawget(_G, "counter"))
    assert.are.equal(1, script.env.seen)
    assert.are.same({ "counted\t1\tfirst" }, script.output)
    assert.is_true(script:printed("counted\t1\tfirst"))
  end)

  it("has the device's modules, and what the test puts in their place", function()
    run("print(type(mqtt.Client), type(tmr.create), type(node.heap()), adc.read(0))",
      { globals = { adc = { read = function() return 512 end } } })
    assert.are.same({ "function\tfunction\tnumber\t512" }, script.output)
  end)

  it("has what its Lua lacks, and the globals of the test stay as they are", function()
    local before = rawget(_G, "loadstring")
    run([[
      own = 2
      print(loadstring("return own")(), table.getn { 1, 2, 3 }, math.pow(2, 3), unpack { "x" })
      setfenv(1, { print = print, x = "own" })
      print(x)
    ]])
    assert.are.equal(before, rawget(_G, "loadstring"))
    assert.matches("^2\t3\t8%.?0?\tx$", script.output[1])
    assert.are.equal("own", script.output[2])
  end)

  it("has them for require too", function()
    run([[
      local cjson, node = require("cjson"), require("node")
      print(cjson.encode({ 1 }), node == _G.node, require("tmr") == tmr)
    ]], { globals = { node = { heap = function() return 1 end } } })
    assert.are.same({ "[1]\ttrue\ttrue" }, script.output)
  end)

  it("tells of modules that are not simulated", function()
    local _, message = pcall(run, "\nhttp.get('http://localhost', nil, print)")
    assert.matches(":2: http%.get is not simulated$", message)
    run("print(cjson == sjson, nonsense)")
    assert.are.same({ "true\tnil" }, script.output)
  end)

  it("has the world around the device", function()
    run("function read() return adc.read(0) end")
    script.env.sim.adc(0, 123)
    assert.are.equal(123, script.env.read())
    script.env.sim.reset()
  end)

  it("gives its parts by require the same modules, and loads them anew for each script", function()
    local folder = project {
      ["part.lua"] = "local mqtt = require('mqtt') loads = (loads or 0) + 1 return { client = mqtt.Client('part') }",
      ["mqtt.lua"] = "error('this is not the module')",
      ["main.lua"] = [[
        part = require("part")
        package.loaded.part = nil
        require("part")
        timer = require("mqtt.tmr").create()
        timer:alarm(1, tmr.ALARM_AUTO, function() ticks = (ticks or 0) + 1 end)
      ]],
    }
    for _ = 1, 2 do
      script = kit.run_script(folder .. "/main.lua")
      assert.are.equal(2, script.env.loads)
      assert.are.equal(script.env.part.client, script:clients()[1])
      assert.are.equal(2, #script:clients())
      kit.eventually(function() return script.env.ticks end)
      script:stop()
      assert.is_nil(script.env.timer:state())
    end
    assert.is_nil(package.loaded.part)
  end)

  it("finds its parts by the names that a device knows them by", function()
    local folder = project {
      ["part.lua"] = "return 'part of ' .. owner",
      ["other.lua"] = "return 'other of ' .. owner",
      ["other.lc"] = "\27LuaQ\0\1\4\4\4\4\0 of an ESP8266",
      ["bad.lua"] = "if if",
      ["main.lua"] = [[
        owner = "this script"
        print(dofile("part.lc"))
        print(dofile("/FLASH/part.lua"))
        print(loadfile("other.lc")())
        print(require("part"))
        print(pcall(dofile, "bad.lc"))
        print(loadfile("nowhere.lc"))
      ]],
    }
    local out = kit.run_script(folder .. "/main.lua").output
    assert.are.same(
      { "part of this script", "part of this script", "other of this script", "part of this script" },
      { out[1], out[2], out[3], out[4] })
    assert.matches("^false\t.*bad%.lua:1:", out[5])
    assert.matches("^nil\t.*nowhere%.lc", out[6])
  end)

  it("is ended by node.restart and node.dsleep, and says which", function()
    for call, ending in pairs { ["node.restart()"] = "restart", ["node.dsleep(1000000)"] = "dsleep" } do
      clock = clock or kit.clock()
      run("ticks = 0; tmr.create():alarm(1, tmr.ALARM_AUTO, function() ticks = ticks + 1; " .. call .. " end)")
      clock:advance(1000)
      assert.are.equal(ending, script.ended)
      assert.are.equal(1, script.env.ticks)
    end
  end)

  it("ends one that fails: nothing of it goes on, and connects go where they say again", function()
    local broker, elsewhere = support.broker(), support.broker()
    local ok, message = pcall(run, [[
      mqtt.Client("failing"):connect("10.0.0.1", 1883)
      error("enough")
    ]], { broker = broker })
    assert.is_false(ok)
    assert.matches(":2: enough$", message)
    support.connected(elsewhere.port)
    assert.are.equal(1, elsewhere:accepted())
    kit.settle()
    assert.are.same({}, broker:clients())
  end)

  it("leads its connects to the broker of the test, with and without TLS", function()
    local broker = support.broker()
    run([[
      m = mqtt.Client("device", 60)
      m:connect("broker.example", 8883, 1, 0, function(c) c:publish("hello", "world", 1, 0) end)
    ]], { broker = broker })
    assert.published(broker, "hello", "world")
    assert.are.same({ script.env.m }, script:clients())
  end)

  it("stops: its clients are closed, its timers run no more", function()
    clock = kit.clock()
    local broker = support.broker()
    run([[
      ticks = 0
      tmr.create():alarm(1, tmr.ALARM_AUTO, function() ticks = ticks + 1 end)
      tmr.alarm(0, 1, 1, function() ticks = ticks + 1 end)
      m = mqtt.Client("device")
      m:connect("10.0.0.1", 1883)
    ]], { broker = broker })
    assert.connected(script.env.m)
    clock:advance(10)
    assert.are.equal(20, script.env.ticks)
    script:stop()
    clock:advance(1000)
    assert.are.equal(20, script.env.ticks)
    assert.are.equal("idle", script.env.m:state())
  end)

  it("lives under the test's clock", function()
    clock = kit.clock()
    local broker = support.broker()
    run([[
      local m = mqtt.Client("device", 60)
      m:connect("10.0.0.1", 1883, 0, function(client)
        tmr.create():alarm(60000, tmr.ALARM_AUTO, function() client:publish("alive", tmr.time(), 0, 0) end)
      end)
    ]], { broker = broker })
    clock:advance(3600 * 1000)
    assert.are.equal(60, #broker:received { client = "device", topic = "alive" })
  end)

  it("says where it went wrong", function()
    local _, message = pcall(run, "\nmqtt.Client('x', -1)")
    assert.matches(":2: bad argument #2 to 'Client'", message)
    _, message = pcall(run, "x =")
    assert.matches(":1: ", message)
    assert.is_false((pcall(kit.run_script, "/does/not/exist.lua")))
  end)
end)
