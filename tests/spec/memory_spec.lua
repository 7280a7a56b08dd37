-- Memory, bounded whatever a broker announces or a script publishes.

local support = require("tests.spec.support")

local text, packet = support.text, support.packet

-- The start of each script, which runs in an interpreter of its own: client, port, and how much memory the process has
-- needed at most since it was connected, in kB.
local PRELUDE = [[
  local mqtt = require("mqtt")
  local port = arg[1]
  local function status(key)
    for line in io.lines("/proc/self/status") do
      local value = line:match("^" .. key .. ":%s*(%d+)")
      if value then return tonumber(value) end
    end
  end
  local function say(...)
    print(...)
    io.flush()
  end
  local heard = {}
  local client, base
  local function connect(options)
    options.clientid, options.keepalive = "memory", 0
    client = mqtt.Client(options)
    client:on("message", function(_, topic, data)
      heard[topic] = (heard[topic] or 0) + 1
      heard.bytes = (heard.bytes or 0) + #(data or "")
    end)
    client:connect("127.0.0.1", port)
    assert(mqtt.wait(function() return client:state() == "connected" end, 5))
    collectgarbage()
    base = status("VmRSS")
  end
  local function peak() return status("VmHWM") - base end
]]

-- Starts a script against a peer that accepts it.
local function start(source)
  local peer = support.peer()
  local script = support.start(PRELUDE .. source, peer.port)
  peer:welcome()
  peer.link:settimeout(15)
  return peer, script
end

-- The next line that the script says, as numbers.
local function numbers(script)
  local line = script.pipe:read("*l")
  local list = {}
  for number in line:gmatch("%S+") do list[#list + 1] = assert(tonumber(number), line) end
  return list
end

local function expect_good_end(script)
  local status, output = script:finish()
  assert.are.same({ 0, "" }, { status, output })
end

local MB = 1024 -- in kB

describe("memory:", function()
  after_each(support.finish)

  it("a length that is announced costs nothing before the bytes come", function()
    local peer, script = start [[
      connect {}
      local before = mqtt.stats().bytes_in
      client:publish("ready", "")
      assert(mqtt.wait(function() return mqtt.stats().bytes_in >= before + 1000 end, 5))
      say(peak())
    ]]
    assert(peer:read())
    peer:send("\48\255\255\255\127" .. text("t") .. ("x"):rep(992))
    local peak = numbers(script)[1]
    assert(peak < 1 * MB, peak)
    expect_good_end(script)
  end)

  it("32 MB above max_message_length cost at most 16 MiB, and go to overflow", function()
    local peer, script = start [[
      connect { max_message_length = 1000000 }
      client:on("overflow", function(_, topic, data) say(peak(), #topic, #data) end)
      client:publish("ready", "")
      assert(mqtt.wait(function() return heard.after end, 20))
      say(peak())
    ]]
    assert(peer:read())
    local body = text("topic") .. ("x"):rep(32000000)
    peer:send(packet(0x30, body) .. packet(0x30, text("after") .. "y"))
    local first, last = numbers(script), numbers(script)[1]
    assert(first[1] < 16 * MB, first[1])
    assert.are.same({ 5, 1000000 - 5 - 7 }, { first[2], first[3] })
    assert(last < 16 * MB, last)
    expect_good_end(script)
  end)

  -- Publishes until that is refused; how much memory that took, and whether a poll comes back when half is done.
  local FILL = [[
    connect { max_queue = 32 * 1024 * 1024 }
    local size, qos = tonumber(arg[2]), tonumber(arg[3])
    local payload = ("x"):rep(size)
    local ok, why
    repeat ok, why = client:publish("t", payload, qos) until not ok
    assert(why == "queue full", why)
    -- what the system's buffers take does not stay in the queue
    while mqtt.poll(0.2) > 0 do end
    repeat ok = client:publish("t", payload, qos) until not ok
    local messages = client:pending()
    say(peak())
    local began = require("socket").gettime()
    repeat until mqtt.poll(15) == 0
    local took = require("socket").gettime() - began
    say(client:pending() / messages, client:publish("t", payload, qos) and 1 or 0, took)
    client:close()
  ]]

  local function fill(size, qos)
    local peer = support.peer()
    local script = support.start(PRELUDE .. FILL, peer.port, size, qos)
    peer:welcome()
    peer.link:settimeout(15)
    local peak = numbers(script)[1]
    assert(peak < (32 + 16) * MB, peak)
    return peer, script
  end

  local function expect_room(script)
    local said = numbers(script)
    assert(said[1] <= 0.52, said[1])
    assert.are.equal(1, said[2])
    assert(said[3] < 10, said[3]) -- of the 15 s that poll may wait
  end

  it("a broker that never reads costs max_queue and 16 MiB; publish goes on when half is gone", function()
    local peer, script = fill(20000, 0)
    repeat local bytes = peer.link:receive(100000) until not bytes
    expect_room(script)
    expect_good_end(script)
  end)

  it("a broker that never acknowledges costs as much; publish goes on when half is acknowledged", function()
    local peer, script = fill(20000, 1)
    repeat
      local publish = peer:read()
      if publish and publish:byte() == 0x32 then peer.link:send("\64\2" .. publish:sub(8, 9)) end
    until not publish
    expect_room(script)
    expect_good_end(script)
  end)

  for qos = 0, 2 do
    it("a flood of tiny messages at QoS " .. qos .. " costs no more than it says", function()
      local peer, script = fill(1, qos)
      peer:drop()
      script:finish()
    end)
  end

  it("a Lua that is busy for 3 s under a flood costs at most 96 MiB, and gets everything then", function()
    local peer, script = start [[
      connect {}
      client:publish("ready", "")
      mqtt.poll(0.1)
      local socket = require("socket")
      local till = socket.gettime() + 3
      repeat until socket.gettime() > till
      say(peak())
      assert(mqtt.wait(function() return heard.last end, 15))
      say(heard.t, heard.bytes, peak())
    ]]
    assert(peer:read())
    local chunk = packet(0x30, text("t") .. ("x"):rep(300)):rep(400)
    for _ = 1, 400 do peer:send(chunk) end
    peer:send(packet(0x30, text("last") .. ""))
    local busy = numbers(script)[1]
    local all = numbers(script)
    assert(busy < 96 * MB, busy)
    assert(all[3] < 96 * MB, all[3])
    assert.are.same({ 160000, 48000000 }, { all[1], all[2] })
    expect_good_end(script)
  end)

  it("an idle connection costs less than 2 KB, at thousands of them", function()
    -- the broker's own memory is not what is asked for: it is another process
    local port = support.closed_port()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(("require('mqtt.broker').start { port = %d } io.read()"):format(port))
    file:close()
    local broker = io.popen(support.interpreter() .. " " .. path, "w")
    local script = support.start(PRELUDE .. [[
      local count, clients = 0, {}
      local function connect(n)
        local wanted = count + n
        for _ = 1, n do
          local client = mqtt.Client(nil, 60)
          clients[#clients + 1] = client
          client:connect("127.0.0.1", port, function() count = count + 1 end)
          if #clients % 100 == 0 then mqtt.wait(function() return count == #clients end, 10) end
        end
        assert(mqtt.wait(function() return count == wanted end, 10))
        collectgarbage()
        collectgarbage()
        return status("VmRSS")
      end
      local socket = require("socket")
      local up
      repeat up = socket.connect("127.0.0.1", port) until up
      up:close()
      -- tables grow in some thousands and not in others
      local before = connect(100)
      say((connect(3000) - before) * 1024 / 3000)
    ]], port)
    local each = numbers(script)[1]
    assert(each < 2048, each)
    expect_good_end(script)
    broker:close()
    os.remove(path)
  end)
end)
