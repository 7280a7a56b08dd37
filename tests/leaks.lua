-- What is left behind by clients that come and go, by connections and by messages: memory, descriptors, threads.
--
--   lua5.3 tests/leaks.lua [clients [messages]]        (or luajit; defaults: 10000 200000)
--
-- with the paths set as CONTRIBUTING.md says. Each kind of work is done in rounds. After twice the number to
-- warm up it is done twice more; the second time may leave so many bytes of resident memory per unit at most.

local mqtt = require("mqtt")

local CLIENTS = tonumber(arg and arg[1]) or 10000
local MESSAGES = tonumber(arg and arg[2]) or 200000
local ROUNDS = 10

-- The broker is another process: what it keeps is not asked for here.
local function broker()
  local socket = require("socket")
  local server = assert(socket.bind("127.0.0.1", 0))
  local port = select(2, server:getsockname())
  server:close()
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(("require('mqtt.broker').start { port = %d } io.read()"):format(port))
  file:close()
  local pipe = io.popen((rawget(_G, "jit") and "luajit " or "lua5.3 ") .. path, "w")
  local up
  repeat up = socket.connect("127.0.0.1", port) until up
  up:close()
  os.remove(path)
  return tonumber(port), pipe
end

-- Files are closed at once, as their descriptors would count.
local function contents(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function status(key)
  return tonumber(contents("/proc/self/status"):match(key .. ":%s*(%d+)"))
end

local pid = contents("/proc/self/stat"):match("%d+")

local function descriptors()
  local pipe = io.popen(("ls /proc/%s/fd | wc -l"):format(pid))
  local count = pipe:read("*n")
  pipe:close()
  return count
end

-- Connections of clients that were closed may still have to end: until there are as few descriptors as `before`.
local function settled(before)
  for _ = 1, 4 do collectgarbage() end
  for _ = 1, 100 do
    if not before or descriptors() <= before.descriptors then break end
    mqtt.poll(0.02)
  end
  return { memory = status("VmRSS") * 1024, descriptors = descriptors(), threads = status("Threads") }
end

local failed = false

-- Does `work`, `count` times in all, in rounds; the least that was left after one of them. What leaks is there after
-- each, what the allocator holds for a while, or a thread that is about to end, is not.
local function least_after(count, work)
  local least
  for _ = 1, ROUNDS do
    work(math.ceil(count / ROUNDS))
    local now = settled(least)
    least = least or now
    for what, value in pairs(now) do least[what] = math.min(least[what], value) end
  end
  return least
end

-- At most `limit` bytes are left of each unit of `work`, and no descriptor and no thread. Memory only comes to rest
-- after twice as much work as is measured: small blocks spread over more and more pages at first. Some still do later:
-- what leaks does so every time, so one good try of three will do.
local function measure(name, count, limit, work)
  for _ = 1, 2 do least_after(count, work) end
  local after, good = least_after(count, work), false
  for _ = 1, 3 do
    local before = after
    after = least_after(count, work)
    local each = (after.memory - before.memory) / count
    good = each <= limit and after.descriptors <= before.descriptors and after.threads <= before.threads
    print(("%-28s %7d: %6.2f bytes each (at most %d), descriptors %d -> %d, threads %d -> %d%s"):format(name, count,
      each, limit, before.descriptors, after.descriptors, before.threads, after.threads, good and "" or "  TOO MUCH"))
    if good then break end
  end
  failed = failed or not good
end

local port, pipe = broker()

measure("clients made and collected", CLIENTS, 16, function(n)
  for i = 1, n do
    local client = mqtt.Client("leak" .. i)
    client:on("message", function() return client end)
    client:lwt("t", "x")
    if i % 1000 == 0 then collectgarbage() end
  end
end)

measure("connects and closes", CLIENTS, 64, function(n)
  local open, done = 0, 0
  for i = 1, n do
    local client = mqtt.Client("leak" .. i)
    open = open + 1
    client:on("offline", function()
      open = open - 1
      done = done + 1
    end)
    assert(client:connect("127.0.0.1", port, function(c) c:close() end, function(_, _, why) error(why) end))
    if open >= 50 then assert(mqtt.wait(function() return open < 25 end, 20)) end
    if i % 200 == 0 then collectgarbage() end
  end
  assert(mqtt.wait(function() return open == 0 end, 20))
  assert(done == n)
end)

local client = mqtt.Client { clientid = "leak", callbacks = "each" }
local acknowledged, arrived = 0, 0
client:on("message", function() arrived = arrived + 1 end)
assert(client:connect("127.0.0.1", port))
assert(mqtt.wait(function() return client:state() == "connected" end, 5))
local subscribed = false
client:subscribe("leak/#", 2, function() subscribed = true end)
assert(mqtt.wait(function() return subscribed end, 5))

for qos = 0, 2 do
  measure("messages of qos " .. qos .. ", both ways", math.ceil(MESSAGES / 3), 4, function(n)
    acknowledged, arrived = 0, 0
    for i = 1, n do
      local function back() acknowledged = acknowledged + 1 end
      assert(client:publish("leak/" .. i % 100, ("x"):rep(i % 200), qos, 0, back))
      if i - arrived > 1000 then assert(mqtt.wait(function() return i - arrived < 500 end, 20)) end
    end
    assert(mqtt.wait(function() return acknowledged == n and arrived == n end, 20))
  end)
end

client:close()
mqtt.run(2)
pipe:close()
if failed then os.exit(1) end
