-- Random scripts: whatever callbacks do, the promises hold.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

-- Random scripts, always the same ones for a seed: a few clients connect, publish, close and so on, from the main loop
-- and from inside any callback, while connections break and callbacks raise errors. What has to be true all the time is
-- asserted where it could be broken.

local SEEDS = tonumber(os.getenv("MQTT_RANDOM_SEEDS")) or 12
local STEPS = 250

-- Park and Miller's generator: math.random differs between interpreters.
local function generator(seed)
  local state = seed * 7919 % 2147483646 + 1
  return function(n)
    state = state * 16807 % 2147483647
    return state % n + 1
  end
end

local World = {}
World.__index = World

local function new_world(seed)
  local world = setmetatable({
    random = generator(seed), broker = support.broker(), clients = {}, attempts = {}, publishes = {},
    raised = 0, caught = 0, depth = 0, errors = true, acting = true, callbacks = 0,
  }, World)
  for i = 1, 3 do world:add(i) end
  return world
end

function World:chance(percent)
  return self.random(100) <= percent
end

-- What every callback does besides: something at random, perhaps an error at last. `alive`: it must not run once its
-- client is closed.
function World:inside(it, alive)
  self.callbacks = self.callbacks + 1
  if alive then assert(not it.closed, "a callback of a closed client") end
  if not self.acting then return end
  if self.depth < 3 and self:chance(40) then
    self.depth = self.depth + 1
    local ok, err = pcall(self.act, self)
    self.depth = self.depth - 1
    if not ok then error(err, 0) end
  end
  if self.errors and self:chance(4) then
    self.raised = self.raised + 1
    self.last = { "raised on purpose", self.raised }
    error(self.last)
  end
end

function World:add(i)
  local each = i ~= 2
  local client = support.client {
    clientid = "random-" .. i, callbacks = each and "each" or "last", cleansession = i == 3 and 0 or 1,
  }
  local it = { client = client, each = each, closed = true, online = false }
  self.clients[i] = it
  self:listen(it)
end

-- Sets the callbacks for events, each time other functions that do the same.
function World:listen(it)
  it.client:on("connect", function(c)
    assert(c == it.client)
    assert(not it.online or it.told, "connected twice")
    it.online, it.told = true, false
    self:inside(it, true)
  end)
  it.client:on("offline", function(c)
    assert(c == it.client)
    assert(it.online, "offline without a connection")
    it.online, it.told = false, false
    self:inside(it)
  end)
  it.client:on("message", function(_, topic, data)
    assert(topic:match("^random/"), topic)
    assert(data)
    self:inside(it, true)
  end)
  it.client:on("connfail", function() self:inside(it, true) end)
  if it.each then it.client:on("puback", function() self:inside(it, true) end) end
end

local ACTIONS = {
  function(self, it) -- connect
    if it.attempt and it.attempt.count == 0 then it.attempt.replaced = true end
    local attempt = { count = 0 }
    local function outcome()
      assert(not attempt.replaced, "an outcome of an attempt that was replaced")
      attempt.count = attempt.count + 1
      assert(attempt.count == 1, "two outcomes")
    end
    it.attempt, it.closed = attempt, false
    self.attempts[#self.attempts + 1] = attempt
    assert(it.client:connect("127.0.0.1", self.broker.port, 0, self.random(2) - 1,
      function()
        outcome()
        assert(not it.online, "ok while connected")
        it.online, it.told = true, true -- ok comes before on("connect"), and is enough for offline to follow
        self:inside(it, true)
      end,
      function(_, reason, detail)
        assert(reason ~= 0 and detail)
        outcome()
        self:inside(it, true)
      end))
  end,
  function(_, it) -- close
    if it.attempt and it.attempt.count == 0 then it.attempt.replaced = true end
    it.closed = true
    it.client:close()
  end,
  function(self, it) -- publish
    for _ = 1, self.random(4) do
      local publish = { count = 0 }
      local own = function()
        publish.count = publish.count + 1
        assert(not it.each or publish.count == 1, "two callbacks of one publish")
        self:inside(it, true)
      end
      local topic, data, qos = "random/" .. self.random(3), tostring(self.callbacks), self.random(3) - 1
      local ok, why = it.client:publish(topic, data, qos, 0, own)
      assert(ok or why == "not connected", why)
      if ok and it.each then self.publishes[#self.publishes + 1] = publish end
    end
  end,
  function(self, it) -- subscribe
    local count = 0
    it.client:subscribe("random/" .. self.random(3), self.random(3) - 1, function()
      count = count + 1
      assert(not it.each or count == 1)
      self:inside(it, true)
    end)
  end,
  function(self, it) it.client:unsubscribe("random/" .. self.random(3), function() self:inside(it, true) end) end,
  function(self, it) self:listen(it) end,
  function() mqtt.poll() end,
  function() mqtt.run(0.002) end,
  function() mqtt.wait(function() return false end, 0.002) end,
  function() collectgarbage("step", 200) end,
  function(_, it) assert(it.client:state() and it.client:pending()) end,
  function(self, it) self.broker:kill("random-" .. (it.client == self.clients[1].client and 1 or 2)) end,
  function(self) self.broker:next_faults { cut_after_packets_sent = self.random(6) } end,
  function(self) self.broker:next_faults { connack = self.random(5) } end,
}
-- More often than the rest.
local WEIGHTS = { 3, 1, 8, 3, 1, 1, 4, 1, 1, 1, 1, 1, 1, 1 }
local DECK = {}
for index, weight in ipairs(WEIGHTS) do
  for _ = 1, weight do DECK[#DECK + 1] = ACTIONS[index] end
end

function World:act()
  DECK[self.random(#DECK)](self, self.clients[self.random(#self.clients)])
end

-- Does something on the main loop, where errors of callbacks come out.
function World:attempt(fn, ...)
  local before = self.raised
  local ok, err = pcall(fn, ...)
  if not ok then
    assert(err == self.last and err ~= nil, err)
    self.caught = self.caught + 1
  end
  -- One that was raised inside a loop inside a callback comes out of all of them: once, here.
  assert(self.raised - before == (ok and 0 or 1), "errors that did not come out")
end

function World:play()
  for _ = 1, STEPS do
    self:attempt(self.act, self)
    self:attempt(mqtt.poll, 0.001)
  end
  -- From here on nothing disturbs: each attempt that was not replaced has its outcome …
  self.acting, self.errors = false, false
  self.broker:clear_faults()
  kit.eventually(function()
    for _, attempt in ipairs(self.attempts) do
      if not attempt.replaced and attempt.count ~= 1 then return false end
    end
    return true
  end)
  -- … and each message that is acknowledged its callback.
  for _, it in ipairs(self.clients) do
    ACTIONS[1](self, it)
    kit.eventually(function() return it.attempt.count == 1 and it.online end)
    local publishes = #self.publishes
    for _ = 1, 5 do ACTIONS[3](self, it) end
    kit.eventually(function() return it.client:pending() == 0 end)
    mqtt.poll()
    kit.eventually(function()
      for index = publishes + 1, #self.publishes do
        if self.publishes[index].count ~= 1 then return false end
      end
      return true
    end)
    ACTIONS[2](self, it)
  end
  assert(mqtt.run(3))
  for _, it in ipairs(self.clients) do assert(not it.online and it.client:state() == "idle") end
end

describe("callbacks of a random script keep their promises", function()
  after_each(support.finish)

  for seed = 1, SEEDS do
    it("with seed " .. seed, function()
      local world = new_world(seed)
      world:play()
      assert(world.callbacks > STEPS / 4, world.callbacks)
      assert.are.equal(world.raised, world.caught)
    end)
  end
end)
