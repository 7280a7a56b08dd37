-- The example of the manual's JS API: a button publishes when it is pressed. The configuration is in button.json; a
-- timer presses the button. Messages of QoS 1 are accepted before the connection is there and sent when it is.

local TOPIC, PRESSES = "button/pressed", 3

local function press(count)
  local accepted = MQTT.pub(TOPIC, ('{"button": 0, "count": %d}'):format(count), 1)
  print("pressed, published: " .. (accepted == 1 and "yes" or "no"))
end

local received = 0
MQTT.sub(TOPIC, function(_, topic, message)
  received = received + 1
  print(topic, message)
  if received < PRESSES then
    tmr.create():alarm(20, tmr.ALARM_SINGLE, function() press(received + 1) end)
  else
    mgos_mqtt.global_disconnect()
  end
end)

MQTT.setEventHandler(function(_, ev)
  if ev == MQTT.EV_CONNACK then print("connected") end
  if ev == MQTT.EV_CLOSE then print("closed") end
end)

press(1)
