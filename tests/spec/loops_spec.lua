-- The glue for other event loops, each under the real library. #interpreter: each interpreter has a build of
-- it of its own.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local support = require("tests.spec.support")

-- A library, or nil: then what is about it is pending. Debian has copas for Lua 5.1 only, although any Lua can run it.
local function library(name)
  local path = package.path
  if name == "copas" then package.path = path .. ";/usr/share/lua/5.1/?.lua" end
  local found, module = pcall(require, name)
  package.path = path
  return found and module or nil
end

-- How each loop runs until a condition is true, and for a while; `loop`: until it ends by itself.

local loops = {
  copas = {
    library = library("copas"),
    run = function(copas, done)
      require("mqtt.copas").start()
      while not done() do copas.step(0.5) end
    end,
  },
  luv = {
    library = library("luv"),
    run = function(uv, done, on_error)
      local handle = require("mqtt.luv").start(on_error)
      while not done() do uv.run("once") end
      if not handle:is_closing() then handle:close() end
      uv.run("nowait")
    end,
    loop = function(uv)
      require("mqtt.luv").start()
      uv.run()
    end,
    sleep = function(uv, ms)
      local timer = uv.new_timer()
      timer:start(ms, 0, function() timer:close() end)
      local handle = require("mqtt.luv").start()
      while not timer:is_closing() do uv.run("once") end
      if not handle:is_closing() then handle:close() end
      uv.run("nowait")
    end,
  },
  cqueues = {
    library = library("cqueues"),
    run = function(cqueues, done)
      local loop = cqueues.new()
      require("mqtt.cqueues").start(loop)
      while not done() do assert(loop:step(0.5)) end
    end,
    loop = function(cqueues)
      local loop = cqueues.new()
      require("mqtt.cqueues").start(loop)
      assert(loop:loop(10))
    end,
    sleep = function(cqueues, ms)
      local loop = cqueues.new()
      require("mqtt.cqueues").start(loop)
      local awake = false
      loop:wrap(function()
        cqueues.sleep(ms / 1000)
        awake = true
      end)
      while not awake do assert(loop:step()) end
    end,
  },
  socket = {
    library = library("socket"),
    run = function(_, done)
      local select = require("mqtt.socket").select
      while not done() do select(nil, nil, 0.5) end
    end,
    sleep = function(socket, ms)
      local deadline = socket.gettime() + ms / 1000
      local left = ms / 1000
      while left > 0 do
        require("mqtt.socket").select(nil, nil, left)
        left = deadline - socket.gettime()
      end
    end,
  },
}
loops.copas.sleep = function(copas, ms)
  local server = require("socket").bind("127.0.0.1", 0)
  require("mqtt.copas").start()
  local deadline = require("socket").gettime() + ms / 1000
  repeat copas.step(math.max(0, deadline - require("socket").gettime())) until require("socket").gettime() >= deadline
  server:close()
end

for _, name in ipairs { "copas", "luv", "cqueues", "socket" } do
  local loop = loops[name]
  describe("mqtt." .. name .. " #interpreter", function()
    if not loop.library then
      pending("is not tried: this interpreter has no " .. name)
      return
    end

    after_each(support.finish)

    it("runs a conversation", function()
      local broker = support.broker()
      local client = support.client(support.unique(name))
      local log = {}
      client:on("message", function(_, _, data)
        log[#log + 1] = data
        if data == "3" then client:close() end
      end)
      client:on("offline", function() log[#log + 1] = "offline" end)
      client:connect("127.0.0.1", broker.port, function()
        client:subscribe("count", 1, function()
          for i = 1, 3 do client:publish("count", i, 1) end
        end)
      end)
      loop.run(loop.library, function() return log[#log] == "offline" end)
      assert.are.same({ "1", "2", "3", "offline" }, log)
    end)

    it("runs timers", function()
      local ticks = 0
      local timer = tmr.create()
      timer:alarm(5, tmr.ALARM_AUTO, function() ticks = ticks + 1 end)
      loop.run(loop.library, function() return ticks >= 3 end)
      timer:unregister()
    end)

    if loop.loop then it("ends after mqtt.stop, and when nothing is left", function()
      tmr.create():alarm(5, tmr.ALARM_SINGLE, function() end)
      loop.loop(loop.library)
      local broker = support.broker()
      local client = support.connected(broker.port)
      tmr.create():alarm(5, tmr.ALARM_SINGLE, function() mqtt.stop() end)
      loop.loop(loop.library)
      assert.are.equal("connected", client:state())
    end) end

    it("uses no processor time while nothing happens", function()
      local broker = support.broker()
      support.connected(broker.port)
      local began = os.clock()
      loop.sleep(loop.library, 500)
      local used = os.clock() - began
      assert(used < 0.02, used)
    end)
  end)
end

describe("mqtt.luv #interpreter", function()
  if not loops.luv.library then
    pending("is not tried: this interpreter has no luv")
    return
  end

  after_each(support.finish)

  it("gives errors of callbacks to whom it is told, and goes on", function()
    local failures, ticks = {}, 0
    local timer = tmr.create()
    timer:alarm(2, tmr.ALARM_AUTO, function()
      ticks = ticks + 1
      if ticks == 1 then error("first tick") end
    end)
    loops.luv.run(loops.luv.library, function() return ticks >= 2 end, function(err) failures[#failures + 1] = err end)
    timer:unregister()
    assert.are.equal(1, #failures)
    assert.matches("first tick", failures[1])
  end)
end)

describe("mqtt.socket.select #interpreter", function()
  after_each(support.finish)

  it("is luasocket's select for the sockets that it is given", function()
    local select = require("mqtt.socket").select
    local peer = support.peer()
    assert.are.same({ {}, {}, "timeout" }, { select({ peer.server }, nil, 0) })
    local visitor = require("socket").connect("127.0.0.1", peer.port)
    local readable = select({ peer.server }, { visitor }, 5)
    assert.are.equal(peer.server, readable[1])
    assert.are.equal(1, readable[peer.server])
    visitor:close()
  end)
end)
