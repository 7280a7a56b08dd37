-- luamqtt over luasocket, without coroutines, which is its fastest: luamqtt.lua PORT JOB COUNT SIZE
-- What is printed is as in ../src/peers/mod.rs.
local mqtt = require("mqtt")
local now = require("socket").gettime

local port, job, count, size = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])

local WARM_UP = 200
local WINDOW = 1000
local topic = "sensors/room1/temp"
local payload = ("abcdefghijklmnopqrstuvwxyz"):rep(math.ceil(size / 26)):sub(1, size)
local qos = tonumber(job:match("%d$"))

local function step(m)
  assert(m:_sync_iteration())
end

local clients = 0
local function client(nodelay)
  local accepted = false
  clients = clients + 1
  local m = mqtt.client { uri = "127.0.0.1:" .. port, clean = true, id = "luamqtt" .. clients }
  m:on("connect", function() accepted = true end)
  m:on("error", error)
  assert(m:start_connecting())
  if nodelay then m.connection.sock:setoption("tcp-nodelay", true) end
  while not accepted do step(m) end
  return m
end

local began, processor_began
local function start()
  began, processor_began = now(), os.clock()
end

local function report(more)
  local seconds, processor = now() - began, os.clock() - processor_began
  print(("seconds=%.6f processor=%.6f %s"):format(seconds, processor, more or ""))
end

local jobs = {}

function jobs.publish()
  local m, sent, done = client(), 0, 0
  -- one for all: with a callback for each it looks through all that are under way
  m:on("acknowledge", function() done = done + 1 end)
  local function publish(level) m:publish { topic = topic, payload = payload, qos = level } end
  start()
  if qos == 0 then
    for _ = 1, count - 1 do publish(0) end
  else
    while done < count do
      while sent < count and sent - done < WINDOW do
        publish(qos)
        sent = sent + 1
      end
      local enough = sent == count and count or sent - WINDOW / 2
      while done < enough do step(m) end
    end
  end
  -- that of the last one tells that all have arrived; at QoS 2 it calls back at PUBREC
  if qos ~= 1 then
    done = 0
    publish(1)
    while done < 1 do step(m) end
  end
  report()
end

function jobs.receive()
  local m, left = client(), count
  m:on("message", function(message)
    if left == count then start() end
    left = left - 1
    if qos > 0 then m:acknowledge(message) end
  end)
  m:subscribe {
    topic = ("blast/%09d/%08d/%d"):format(count, size, qos),
    qos = qos,
    callback = function()
      print("subscribed")
      io.stdout:flush()
    end,
  }
  while left > 0 do step(m) end
  report()
end

function jobs.echo()
  local m, got, ready = client(true), 0, false
  m:on("message", function() got = got + 1 end)
  m:subscribe { topic = "echo", callback = function() ready = true end }
  while not ready do step(m) end
  local times = {}
  start()
  for n = 1 - WARM_UP, count do
    local before, sent = got, now()
    m:publish { topic = "echo", payload = payload }
    while got == before do step(m) end
    if n > 0 then times[n] = (now() - sent) * 1e6 end
  end
  table.sort(times)
  report(("p50=%.2f p99=%.2f"):format(times[math.ceil(count * 0.5)], times[math.ceil(count * 0.99)]))
end

function jobs.connect()
  start()
  for _ = 1, count do client():disconnect() end
  report()
end

jobs[job:match("^%a+")]()
