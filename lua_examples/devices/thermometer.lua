-- A thermometer on batteries: it wakes, measures, tells, and sleeps again. The reading goes out at QoS 1 and retained,
-- so that who asks later gets the last one, and its PUBACK is what lets the device sleep.

local BROKER = "broker.local"
local SENSOR_PIN = 4
local SLEEP_US = 60 * 1000 * 1000
-- A device that waits longer than this empties its battery.
local PATIENCE_MS = 10 * 1000
-- Where rtcmem keeps how often it woke: it loses its contents with the power, not in deep sleep.
local BOOTS = 10
local WOKE_FROM_SLEEP = 5

local ID = ("thermometer-%06x"):format(node.chipid())

local _, reason = node.bootreason()
local boots = reason == WOKE_FROM_SLEEP and rtcmem.read32(BOOTS) or 0
rtcmem.write32(BOOTS, boots + 1)

local function sleep()
  node.dsleep(SLEEP_US)
end

local function reading()
  local status, temperature, humidity = dht.read(SENSOR_PIN)
  if status ~= dht.OK then return { boots = boots, failed = status } end
  return { boots = boots, temperature = temperature, humidity = humidity }
end

local function connected(client)
  client:publish("home/" .. ID .. "/climate", sjson.encode(reading()), 1, 1, function()
    client:close()
  end)
end

local function start()
  local client = mqtt.Client(ID, 30)
  client:on("offline", sleep)
  client:connect(BROKER, 1883, 0, connected, function(_, why)
    print("no connection: " .. why)
    sleep()
  end)
end

tmr.create():alarm(PATIENCE_MS, tmr.ALARM_SINGLE, sleep)
wifi.eventmon.register(wifi.eventmon.STA_GOT_IP, start)
