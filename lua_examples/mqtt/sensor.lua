-- A sensor on a timer: reads, publishes at QoS 1, and stops after a few readings. Its last word waits until the
-- broker has acknowledged every reading.

local BROKER = "127.0.0.1"
local TOPIC = "sensor/temperature"
local INTERVAL_MS = 100
local READINGS = 5

-- Stands in for a real sensor: tenths of a degree.
local function read_sensor(n)
  return 210 + n * n % 7
end

local m = mqtt.Client("sensor-" .. node.chipid(), 60)
local acknowledged = 0

local function on_puback(client)
  acknowledged = acknowledged + 1
  if acknowledged == READINGS then
    print("all " .. READINGS .. " readings acknowledged")
    client:close()
  end
end

local function start(client)
  local taken = 0
  tmr.create():alarm(INTERVAL_MS, tmr.ALARM_AUTO, function(timer)
    taken = taken + 1
    local tenths = read_sensor(taken)
    local text = string.format("%d.%d", math.floor(tenths / 10), tenths % 10)
    print("reading " .. taken .. ": " .. text)
    client:publish(TOPIC, text, 1, 0, on_puback)
    if taken == READINGS then timer:unregister() end
  end)
end

m:connect(BROKER, 1883, 0, start, function(_, reason)
  print("no connection, reason " .. reason)
end)
