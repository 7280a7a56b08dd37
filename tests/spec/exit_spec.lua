-- The ends of an interpreter: whichever way it goes, it says goodbye.

local kit = require("mqtt.test")
local support = require("tests.spec.support")

local text, packet, hex = support.text, support.packet, support.hex

-- A script that connects to the port it is given, as the process id, and gets `last` done once it is connected.
local function connected_script(last)
  return ([[
    local mqtt = require("mqtt")
    local pid = io.open("/proc/self/stat"):read("*n")
    local client = mqtt.Client(pid)
    client:lwt("will", "published")
    client:connect("127.0.0.1", arg[1])
    mqtt.wait(function() return client:state() == "connected" end, 5)
    client:publish("t", "last words")
  ]]) .. last
end

-- Runs it against a peer. What the peer must get: the CONNECT, the PUBLISH, DISCONNECT, the end.
local function expect_goodbye(source, message)
  local status, output
  -- a second, and what the interpreter needs
  support.can_take_less_than(1.6, function()
    local peer = support.peer()
    local script = support.start(source, peer.port)
    peer:welcome()
    assert.are.equal(hex(packet(0x30, text("t") .. "last words")), hex(peer:read()))
    if message then peer:send(packet(0x30, text(message) .. "x")) end
    peer:expect_only_goodbye()
    status, output = script:finish()
  end)
  return status, output
end

describe("an interpreter that ends with a connected client says goodbye:", function()
  after_each(support.finish)

  local ENDS = {
    ["at the end of the script"] = { "", 0 },
    ["by os.exit()"] = { "os.exit()", 0 },
    ["by os.exit(3)"] = { "os.exit(3)", 3 },
    ["by os.exit(3, true), which closes the state"] = { "os.exit(3, true)", 3 },
    ["by an error"] = { "error('told you so')", 1 },
    ["by os.exit in a callback"] = {
      "require('mqtt.tmr').create():alarm(1, 0, function() os.exit(4) end) mqtt.run()", 4,
    },
    ["by os.exit(…, true) in a callback"] = {
      "require('mqtt.tmr').create():alarm(1, 0, function() os.exit(4, true) end) mqtt.run()", 4,
    },
    ["by os.exit in a message's callback"] = {
      "client:on('message', function() os.exit(6) end) mqtt.run()", 6, "exit",
    },
    ["by os.exit(…, true) in a message's callback"] = {
      "client:on('message', function() os.exit(6, true) end) mqtt.run()", 6, "exit",
    },
    ["by an error in a callback"] = {
      "require('mqtt.tmr').create():alarm(1, 0, function() error('told you so') end) mqtt.run()", 1,
    },
    ["by os.exit in a coroutine"] = { "coroutine.wrap(function() os.exit(5) end)()", 5 },
    ["with nothing referring to the client"] = { "client = nil collectgarbage() collectgarbage()", 0 },
    ["with the module gone from package.loaded"] = {
      "package.loaded.mqtt = nil mqtt = nil client = nil collectgarbage() os.exit(0, true)", 0,
    },
  }
  for name, case in pairs(ENDS) do
    it(name, function()
      local status, output = expect_goodbye(connected_script(case[1]), case[3])
      assert.are.equal(case[2], status, output)
      if status == 1 then
        assert.matches("told you so", output)
      else
        assert.are.equal("", output)
      end
    end)
  end
end)

describe("at the end of the interpreter", function()
  after_each(support.finish)

  it("an attempt is cut at once", function()
    local peer, signal = support.peer(), support.peer()
    local script = support.start([[
      local mqtt = require("mqtt")
      mqtt.Client("x"):connect("127.0.0.1", arg[1])
      require("socket").connect("127.0.0.1", arg[2]):receive("*l")
    ]], peer.port, signal.port)
    assert.are.equal(0x10, peer:accept():read():byte())
    signal:accept():send("end\n")
    assert.is_true(peer:ended())
    assert.are.equal(0, (script:finish()))
  end)

  it("a broker that does not read holds it up for a second, not more", function()
    support.can_take_less_than(1.8, function()
      local peer = support.peer()
      local script = support.start(connected_script([[
        for _ = 1, 20 do client:publish("t", ("x"):rep(1000000)) end
        for _ = 1, 3 do mqtt.Client(_):connect("127.0.0.1", arg[1]) end
      ]]), peer.port)
      peer:welcome()
      local status, output = script:finish()
      assert.are.equal(0, status, output)
    end)
  end)

  it("no client at all costs nothing", function()
    assert.are.same({ 0, "" }, { support.script("require('mqtt') require('mqtt.tmr') os.exit(0)") })
    assert.are.same({ 0, "" }, { support.script("require('mqtt').Client('idle')") })
  end)
end)

describe("Ctrl-C in the stock interpreter", function()
  after_each(support.finish)

  for name, wait in pairs {
    run = "mqtt.run()", poll = "while true do mqtt.poll(20) end", wait = "mqtt.wait(function() return false end, 20)",
  } do
    it("interrupts " .. name .. " at once", function()
      local peer = support.peer()
      local script = support.start(connected_script(wait), peer.port)
      local connect = peer:welcome()
      assert.are.equal(0x30, peer:read():byte())
      local pid = connect:sub(15):match("^%d+")
      os.execute("kill -INT " .. pid)
      peer:expect_only_goodbye()
      local status, output = script:finish()
      assert.are.equal(1, status, output)
      assert.matches("interrupted!", output)
    end)
  end
end)

describe("Ctrl-C at any moment", function()
  after_each(support.finish)

  -- Something of everything, for ever: callbacks, waits, connects, closes, collections.
  local BUSY = [[
    local mqtt = require("mqtt")
    local client = mqtt.Client("busy")
    local function back() for i = 1, 100 do local _ = tostring(i) end end
    client:on("message", function(c, _, data)
      back()
      c:publish("busy", data, 1)
      mqtt.poll()
    end)
    client:connect("127.0.0.1", arg[1])
    mqtt.wait(function() return client:state() == "connected" end, 5)
    client:subscribe("busy", 1, function(c) for i = 1, 5 do c:publish("busy", i, 1) end end)
    io.write(io.open("/proc/self/stat"):read("*n"), "\n")
    io.flush()
    while true do
      local other = mqtt.Client("other")
      other:connect("127.0.0.1", arg[1], function(c) c:close() end)
      mqtt.poll(0.01)
      other:close()
      collectgarbage("step")
    end
  ]]

  it("ends the script with the interpreter's message, and the broker gets DISCONNECT", function()
    local broker = support.broker()
    math.randomseed(4)
    local fastest = math.huge
    for _ = 1, 12 do
      local script = support.start(BUSY, broker.port)
      local pid = script.pipe:read("*l")
      assert.matches("^%d+$", pid)
      require("socket").sleep(math.random() * 0.05)
      local sent = require("socket").gettime()
      os.execute("kill -INT " .. pid)
      -- one that does not end by itself is killed, with another status
      local status, output = script:finish()
      assert.are.equal(1, status, output)
      assert.matches("interrupted!", output)
      fastest = math.min(fastest, require("socket").gettime() - sent)
      kit.eventually(function() return #broker:clients() == 0 end)
    end
    assert(fastest < 1.5, fastest)
  end)
end)

describe("a connection that the broker has reset", function()
  after_each(support.finish)

  it("raises no SIGPIPE in the host, however often it is written to", function()
    local peer = support.peer()
    local script = support.start(connected_script([[
      local other = mqtt.Client("other")
      for round = 1, 20 do
        client:connect("127.0.0.1", arg[1])
        mqtt.wait(function() return client:state() == "connected" end, 5)
        for _ = 1, 200 do
          client:publish("t", ("x"):rep(10000), round % 3)
          other:close()
        end
        mqtt.wait(function() return client:state() == "idle" end, 5)
      end
    ]]), peer.port)
    peer:welcome()
    peer:read()
    for _ = 1, 20 do
      peer:welcome()
      peer:read()
      peer:drop() -- with unread input: the system answers what comes with a reset
    end
    assert.are.same({ 0, "" }, { script:finish() })
  end)
end)

describe("other processes", function()
  after_each(support.finish)

  it("can be started while a client is connected", function()
    local client, peer = support.pair()
    for _ = 1, 3 do
      local pipe = io.popen("echo hello")
      assert.are.equal("hello", pipe:read("*l"))
      pipe:close()
      os.execute("true")
    end
    client:publish("t", "x")
    assert.are.equal(hex(packet(0x30, text("t") .. "x")), hex(peer:read()))
  end)

  it("do not inherit the connection", function()
    local client, peer = support.pair()
    local pipe = io.popen("cat; echo done", "w")
    client:close()
    peer:expect_only_goodbye()
    pipe:close()
  end)

  it("fail to connect for want of descriptors, and connect when there are some", function()
    local broker = support.broker()
    local status, output = support.script([[
      if not arg[2] then
        local ended = os.execute(("ulimit -n 64; exec %s %s %s few"):format(arg[-1], arg[0], arg[1]))
        os.exit((ended == true or ended == 0) and 0 or 1)
      end
      local mqtt = require("mqtt")
      local client = mqtt.Client("many")
      local outcome
      local function ok() outcome = "connected" end
      local function nok(_, _, detail) outcome = detail end
      local free = 0
      while outcome ~= "connected" do
        local files = {}
        local file = io.open("/dev/null")
        while file do
          files[#files + 1] = file
          file = io.open("/dev/null")
        end
        for _ = 1, free do table.remove(files):close() end
        outcome = nil
        client:connect("127.0.0.1", arg[1], ok, nok)
        assert(mqtt.wait(function() return outcome end, 10))
        for _, open in ipairs(files) do open:close() end
        print(free .. " " .. outcome)
        free = free + 1
      end
      client:close()
      assert(mqtt.run(10))
    ]], broker.port)
    assert.are.equal(0, status, output)
    local lines = {}
    for line in output:gmatch("[^\n]+") do lines[#lines + 1] = line end
    assert.is_true(#lines > 2, output)
    assert.matches("^%d+ connected$", table.remove(lines))
    for _, line in ipairs(lines) do assert.matches("^%d+ cannot .*Too many open files", line) end
  end)

  it("inherit no descriptor of ours", function()
    local broker = support.broker()
    local status, output = support.script([[
      local mqtt = require("mqtt")
      local client = mqtt.Client("many")
      client:connect("127.0.0.1", arg[1])
      mqtt.wait(function() return client:state() == "connected" end, 5)
      mqtt.fileno()
      local own = io.popen("readlink /proc/$PPID/fd/*"):read("*a")
      assert(own:match("socket:") and own:match("eventfd") and own:match("eventpoll"), own)
      os.execute("readlink /proc/self/fd/*")
    ]], broker.port)
    assert.are.equal(0, status, output)
    for _, kind in ipairs { "socket", "eventfd", "eventpoll", "timerfd" } do
      assert.is_nil(output:match(kind), output)
    end
  end)

  if rawget(_G, "jit") then
    it("forked without exec: their clients raise an error that says so", function()
      local broker = support.broker()
      local status, output = support.script([[
        local ffi = require("ffi")
        ffi.cdef "int fork(void); int waitpid(int, int *, int); void _exit(int);"
        local mqtt = require("mqtt")
        local client = mqtt.Client("forked")
        client:connect("127.0.0.1", arg[1])
        mqtt.wait(function() return client:state() == "connected" end, 5)
        local pid = ffi.C.fork()
        if pid == 0 then
          for _, call in ipairs {
            function() client:publish("t", "x") end, function() client:state() end, function() client:close() end,
            function() mqtt.Client("y") end, function() mqtt.poll() end, function() mqtt.run() end,
          } do
            local ok, err = pcall(call)
            print(ok, type(err), tostring(err):match("fork") )
          end
          client = nil
          collectgarbage()
          os.exit(0)
        end
        local result = ffi.new("int[1]")
        ffi.C.waitpid(pid, result, 0)
        assert(result[0] == 0)
        print("parent", client:publish("t", "x"))
      ]], broker.port)
      assert.are.equal(0, status, output)
      assert.are.equal(("false\tstring\tfork\n"):rep(6) .. "parent\ttrue\n", output)
    end)

    it("the parent of a fork: it goes on, and what the child holds open does not keep its loop busy", function()
      local broker = support.broker()
      local status, output = support.script([[
        local ffi = require("ffi")
        ffi.cdef [=[
          int fork(void); int waitpid(int, int *, int); void _exit(int);
          int pipe(int *); int close(int); long read(int, void *, size_t);
        ]=]
        local mqtt = require("mqtt")
        local ends, byte, result = ffi.new("int[2]"), ffi.new("char[1]"), ffi.new("int[1]")
        local up, gone = 0, false
        local one, other = mqtt.Client("one"), mqtt.Client("other")
        one:on("offline", function() gone = true end)
        for _, client in ipairs { one, other } do
          client:connect("127.0.0.1", arg[1], function() up = up + 1 end)
        end
        assert(mqtt.wait(function() return up == 2 end, 5))
        mqtt.run(0.05)
        assert(ffi.C.pipe(ends) == 0)
        local pid = ffi.C.fork()
        if pid == 0 then
          ffi.C.close(ends[1])
          ffi.C.read(ends[0], byte, 1) -- until the parent has closed its end
          ffi.C._exit(0)
        end
        one:close()
        assert(mqtt.wait(function() return gone end, 5))
        local began = os.clock()
        mqtt.run(0.5)
        print(os.clock() - began < 0.2)
        local heard = false
        other:subscribe("t", 0, function() other:publish("t", "x") end)
        other:on("message", function() heard = true end)
        print(mqtt.wait(function() return heard end, 5))
        ffi.C.close(ends[1])
        ffi.C.waitpid(pid, result, 0)
        other:close()
      ]], broker.port)
      assert.are.same({ 0, "true\ntrue\n" }, { status, output })
    end)

    it("forked before they have anything to do: they wait beside their parent, each for its own time", function()
      local status, output = support.script([[
        local ffi = require("ffi")
        ffi.cdef [=[
          int fork(void); int waitpid(int, int *, int); void _exit(int);
          int pipe(int *); long read(int, void *, size_t); long write(int, const void *, size_t);
        ]=]
        local mqtt = require("mqtt")
        local now = require("mqtt.tmr").now
        local ends, byte = ffi.new("int[2]"), ffi.new("char[1]")
        assert(ffi.C.pipe(ends) == 0)
        local pid = ffi.C.fork()
        if pid == 0 then
          local began = now()
          ffi.C.write(ends[1], byte, 1)
          mqtt.poll(0.05)
          print("child", now() - began < 800000)
          io.stdout:flush()
          ffi.C._exit(0)
        end
        assert(ffi.C.read(ends[0], byte, 1) == 1)
        mqtt.poll(0.9)
        local result = ffi.new("int[1]")
        ffi.C.waitpid(pid, result, 0)
        print("parent", result[0])
      ]])
      assert.are.same({ 0, "child\ttrue\nparent\t0\n" }, { status, output })
    end)
  end
end)

describe("a second Lua state of the process", function()
  it("is independent: a script that requires mqtt twice gets the same module", function()
    local status, output = support.script([[
      local first = require("mqtt")
      package.loaded["mqtt"] = nil
      print(require("mqtt") == first)
    ]])
    assert.are.same({ 0, "true\n" }, { status, output })
  end)
end)
