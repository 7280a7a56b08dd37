-- JSON telemetry: pubf builds it from a format as the C API does, and checks that it is JSON before it is sent.

local mgos_mqtt = require("mgos_mqtt")

local TOPIC = "greenhouse/1/state"

local readings = {
  { temperature = 21.48, humidity = 61, door = false, note = 'calm' },
  { temperature = 22.07, humidity = 58, door = true, note = 'wind, "gusts"' },
}

local function report(number)
  local reading = readings[number]
  local id = mgos_mqtt.pubf(TOPIC, 1, false,
    "{n: %d, temperature: %.1f, humidity: %d, door: %B, note: %Q, history: %M}",
    number, reading.temperature, reading.humidity, reading.door, reading.note,
    function()
      local history = {}
      for n = 1, number do history[n] = readings[n].temperature end
      return history
    end)
  print(id > 0 and "sent" or "not sent")
end

local seen = 0
mgos_mqtt.sub(TOPIC, function(_, _, message)
  print(message)
  seen = seen + 1
  if seen == #readings then mgos_mqtt.global_disconnect() else report(seen + 1) end
end)

-- What would not be JSON does not leave the device.
print((select(2, pcall(mgos_mqtt.pubf, TOPIC, 1, false, "{n: %s}", "oops")):gsub("^.-: ", "")))

mgos_mqtt.configure { mqtt = { enable = true, server = "127.0.0.1" }, device = { id = "greenhouse-1" } }
report(1)
