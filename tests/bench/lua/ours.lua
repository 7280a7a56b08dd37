-- This project's module, through its public API: ours.lua PORT JOB COUNT SIZE [BESIDE]
-- BESIDE is what is idle meanwhile: clients=N, subscriptions=N (then the Mongoose face is used), or late=N and held=N,
-- messages of which the stand-in holds the acknowledgement back. What is printed is as in ../src/peers/mod.rs.
local mqtt = require("mqtt")
local now = require("mqtt.tmr").now -- microseconds

local port, job, count, size = tonumber(arg[1]), arg[2], tonumber(arg[3]), tonumber(arg[4])
local beside, many = (arg[5] or ""):match("^(%a+)=(%d+)$")
many = tonumber(many)

local WARM_UP = 200
local topic = "sensors/room1/temp"
local payload = ("abcdefghijklmnopqrstuvwxyz"):rep(math.ceil(size / 26)):sub(1, size)
local qos = tonumber(job:match("%d$"))
local window = 4096

-- As long as it is connected it lives, whoever refers to it.
local function client(id, max_queue)
  local accepted = false
  local m = mqtt.Client {
    clientid = ("lua%d"):format(id or 0), keepalive = 60, inflight = window, max_queue = max_queue, callbacks = "each",
  }
  m:on("connfail", function(_, _, detail) error(detail) end)
  m:on("offline", function() error("the connection was lost") end)
  m:connect("127.0.0.1", port, function() accepted = true end)
  while not accepted do mqtt.poll(1) end
  return m
end

local began, processor_began
local function start()
  began, processor_began = now(), os.clock()
end

local function report(more)
  local seconds, processor = (now() - began) / 1e6, os.clock() - processor_began
  print(("seconds=%.6f processor=%.6f %s"):format(seconds, processor, more or ""))
end

local function subscribed()
  print("subscribed")
  io.stdout:flush()
end

-- The PUBACK of the last message, of QoS 1, tells that all have arrived: it alone has a callback.
local function publish0(publish, publish_last)
  local done = false
  local function on_puback() done = true end
  start()
  for _ = 1, count - 1 do
    while not publish() do mqtt.poll(1) end
  end
  while not publish_last(on_puback) do mqtt.poll(1) end
  while not done do mqtt.poll(1) end
  report()
end

-- Up to `window` at once; the acknowledgements of `late` of them come after one to another topic.
local function publish_acknowledged(m, late)
  local sent, done = 0, 0
  m:on("puback", function() done = done + 1 end)
  start()
  while done < count - late do
    while sent < count and sent - done < window and m:publish(topic, payload, qos, 0) do sent = sent + 1 end
    mqtt.poll(1)
  end
  if late > 0 then
    m:publish("end", payload, 1, 0)
    while done <= count do mqtt.poll(1) end
  end
  report()
end

local function resident()
  local file = assert(io.open("/proc/self/statm"))
  local _, pages = file:read("*n", "*n")
  file:close()
  return pages * 4096
end

local function receiver()
  local left = count
  local function on_message()
    if left == count then start() end
    left = left - 1
  end
  return on_message, function()
    while left > 0 do mqtt.poll(1) end
    report()
  end
end

local blast = qos and ("blast/%09d/%08d/%d"):format(count, size, qos)

local jobs = {}

function jobs.publish()
  local late = (beside == "late" or beside == "held") and many or 0
  if late > 0 then topic, window = beside .. "/" .. late, math.min(late + 500, 65535) end
  if qos > 0 then return publish_acknowledged(client(), late) end
  -- By default 64 MiB wait: with a broker that is the slower one they would all be new memory, whose filling takes a
  -- fifth of the time. The other clients hold one message, or a thousand.
  local m = client(0, math.max(4 * 1024 * 1024, 4 * size))
  publish0(
    function() return m:publish(topic, payload, 0, 0) end,
    function(done) return m:publish(topic, payload, 1, 0, done) end)
end

-- In one callback, and nothing is sent: for counting instructions.
function jobs.callback()
  local m = mqtt.Client { clientid = "lua", inflight = window }
  m:connect("127.0.0.1", port, function()
    for _ = 1, count do m:publish(topic, payload, qos, 0) end
    os.exit(0, false)
  end)
  mqtt.run()
end

function jobs.receive()
  local on_message, wait = receiver()
  local m = client()
  m:on("message", on_message)
  m:subscribe(blast, qos, subscribed)
  wait()
end

-- The clock shows whole microseconds, so a time of n of them lies between n - 1 and n + 1, and n is the middle. Where a
-- share of all times ends among many equal ones is therefore told by how many of these lie below.
local function percentile(sorted, share)
  local at = math.ceil(#sorted * share)
  local first, last = at, at
  while sorted[first - 1] == sorted[at] do first = first - 1 end
  while sorted[last + 1] == sorted[at] do last = last + 1 end
  return sorted[at] - 0.5 + (#sorted * share - first + 1) / (last - first + 1)
end

function jobs.echo()
  local m, got, ready = client(), 0, false
  m:on("message", function() got = got + 1 end)
  m:subscribe("echo", 0, function() ready = true end)
  while not ready do mqtt.poll(1) end
  local times = {}
  start()
  for n = 1 - WARM_UP, count do
    local before, sent = got, now()
    m:publish("echo", payload, 0, 0)
    while got == before do mqtt.poll(1) end
    if n > 0 then times[n] = now() - sent end
  end
  table.sort(times)
  report(("p50=%.1f p99=%.1f"):format(percentile(times, 0.5), percentile(times, 0.99)))
end

function jobs.connect()
  start()
  for _ = 1, count do
    local m, gone = client(), false
    m:on("offline", function() gone = true end)
    m:close()
    while not gone do mqtt.poll(1) end
  end
  report()
end

function jobs.idle()
  client()
  collectgarbage()
  collectgarbage()
  local before = resident()
  start()
  for n = 1, count do client(n) end
  report(("memory=%.0f"):format((resident() - before) / count))
end

-- The same two over the Mongoose face, beside so many subscriptions.
local mongoose = {}

local function connect_mongoose()
  local mgos_mqtt = require("mgos_mqtt")
  local connected, left = false, many
  mgos_mqtt.add_cloud_handler(function(event)
    assert(event ~= "disconnected", "the connection was lost")
    connected = connected or event == "connected"
  end)
  mgos_mqtt.configure { mqtt = { enable = true, server = "127.0.0.1:" .. port, cloud_events = true } }
  while not connected do mqtt.poll(1) end
  local MQTT = require("api_mqtt")
  for n = 1, many - 1 do MQTT.sub(("devices/%d/commands"):format(n), function() end) end
  -- answers come in order: that of the last one ends it
  mgos_mqtt.global_subscribe("devices/last/commands", function(_, event)
    if event == mgos_mqtt.EV_SUBACK then left = 0 end
  end)
  while left > 0 do mqtt.poll(1) end
  return mgos_mqtt
end

function mongoose.publish()
  local mgos_mqtt = connect_mongoose()
  publish0(
    function() return mgos_mqtt.pub(topic, payload, 0) ~= 0 end,
    function(done)
      if mgos_mqtt.pub(topic, payload, 1) == 0 then return false end
      mgos_mqtt.add_global_handler(function(_, event)
        if event == mgos_mqtt.EV_PUBACK then done() end
      end)
      return true
    end)
end

function mongoose.receive()
  local mgos_mqtt = connect_mongoose()
  local on_message, wait = receiver()
  mgos_mqtt.sub(blast, on_message)
  wait()
end

local name = job:match("^%a+")
if beside == "subscriptions" then
  jobs = mongoose
elseif beside == "clients" then
  for n = 1, many do client(n) end
end
jobs[name]()
io.stdout:flush()
os.exit(0, false) -- at once: what is connected needs no goodbye
