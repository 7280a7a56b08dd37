-- What a script prints is published. Each test is a script of its own: printing is hooked for a whole Lua state.

local support = require("tests.spec.mgos.support")

-- Runs a script that is connected, and shows on standard error what the broker has received from it.
local function script(debug, section, source)
  local status, output = support.script(([[
    local kit = require("mqtt.test")
    local mgos_mqtt = require("mgos_mqtt")
    local broker = kit.broker()
    local show = io.stderr.write
    mgos_mqtt.configure {
      mqtt = { enable = true, server = "127.0.0.1:" .. broker.port %s },
      device = { id = "dev" },
      debug = { %s },
    }
    kit.eventually(mgos_mqtt.global_is_connected)
    %s
    kit.eventually(function() return mgos_mqtt.num_unsent_bytes() == 0 end)
    mgos_mqtt.pub("end", "", 1)
    kit.eventually(function()
      local received = broker:received()
      return #received > 0 and received[#received].topic == "end"
    end)
    for _, message in ipairs(broker:received()) do
      show(io.stderr, ("[%%s] %%s\n"):format(message.topic, message.payload))
    end
  ]]):format(section, debug, source))
  assert.equal(0, status, output)
  local lines = {}
  for topic, payload in output:gmatch("%[(.-)%] (.-)\n") do lines[#lines + 1] = { topic, payload } end
  return lines, output
end

describe("debug.stdout_topic and debug.stderr_topic", function()
  it("get what the script prints, as id, number, time, level and text", function()
    local lines, output = script('stdout_topic = "out", stderr_topic = "err"', "", [[
      print("one", 2, nil)
      io.write("three", 4, "\n")
      io.stdout:write("five\n")
      io.stderr:write("six\n")
    ]])
    assert.truthy(output:find("one\t2\tnil\n", 1, true), output)
    local texts = {}
    for n = 1, 4 do
      local id, number, time, level, text = lines[n][2]:match("^(%S+) (%d+) (%d+%.%d%d%d) (%d)|(.*)$")
      assert.same({ "dev", n - 1 }, { id, tonumber(number) })
      assert.is_true(math.abs(os.time() - tonumber(time)) < 60)
      texts[n] = { lines[n][1], level, text }
    end
    assert.same({
      { "out", "1", "one\t2\tnil" }, { "out", "1", "three4" }, { "out", "1", "five" }, { "err", "2", "six" },
    }, texts)
  end)

  it("get the levels of the log with debug_use_log_level", function()
    local lines = script('stdout_topic = "out", stderr_topic = "err"', ", debug_use_log_level = true", [[
      print("a")
      io.stderr:write("b")
    ]])
    assert.equal("2", lines[1][2]:match(" (%d)|a$"))
    assert.equal("0", lines[2][2]:match(" (%d)|b$"))
  end)

  it("get the time of a test's clock", function()
    local lines = script('stdout_topic = "out"', "", [[
      local clock = kit.clock()
      print("before")
      clock:advance(90500)
      print("after")
      clock:restore()
    ]])
    local function time(line) return tonumber(line[2]:match("^dev %d (%S+) ")) end
    assert.is_true(math.abs(time(lines[2]) - time(lines[1]) - 90.5) < 0.002)
  end)

  it("get nothing where no topic is named, nor what goes to files", function()
    local lines = script('stderr_topic = "err"', "", [[
      print("a")
      local file = assert(io.open("/dev/null", "w"))
      file:write("b")
      io.output(file)
      io.write("c")
    ]])
    assert.same({ { "end", "" } }, lines)
  end)

  it("get no more while more than 2,048 bytes are unsent", function()
    local lines = script('stdout_topic = "out"', "", [[
      mgos_mqtt.global_disconnect()
      mgos_mqtt.pub("big", ("x"):rep(3000), 1)
      mgos_mqtt.global_connect()
      print("dropped")
      kit.eventually(function() return mgos_mqtt.num_unsent_bytes() == 0 end)
      print("kept")
    ]])
    local out = {}
    for _, line in ipairs(lines) do
      if line[1] == "out" then out[#out + 1] = line[2]:match("|(.*)$") end
    end
    assert.same({ "kept" }, out)
  end)
end)
