-- A thermostat as it would stand on a device: publishes the temperature every ten seconds, switches the heating, and
-- takes its target from a retained message. Its tests are in thermostat_spec.lua.

local SENSOR, HEATING = 0, 4
local target = 20

gpio.mode(HEATING, gpio.OUTPUT)

local m = mqtt.Client("thermostat", 60)
m:lwt("thermostat/state", "lost", 1, 1)

local function measure()
  local temperature = adc.read(SENSOR) / 10
  m:publish("thermostat/temperature", ("%.1f"):format(temperature), 0, 0)
  gpio.write(HEATING, temperature < target and gpio.HIGH or gpio.LOW)
end

m:on("message", function(_, topic, data)
  if topic == "thermostat/target" and tonumber(data) then
    target = tonumber(data)
    print("target " .. data)
  end
end)

m:on("connect", function(client)
  client:publish("thermostat/state", "here", 1, 1)
  client:subscribe("thermostat/target", 1)
end)

m:connect("broker.example", 1883, 0, 1)

tmr.create():alarm(10000, tmr.ALARM_AUTO, measure)
