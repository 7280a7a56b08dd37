-- Hello, MQTT: connects, subscribes, publishes once at each quality of service, prints what comes back and
-- closes. It stands here as it would on a device: only BROKER is yours to change.

local BROKER = "127.0.0.1"

local expected = 3
local m = mqtt.Client("hello-" .. node.chipid(), 60)

m:on("message", function(client, topic, data)
  print(topic .. ": " .. (data or ""))
  expected = expected - 1
  if expected == 0 then client:close() end
end)

m:on("offline", function() print("offline") end)

m:connect(BROKER, 1883, 0, function(client)
  print("connected")
  client:subscribe("hello/+", 2, function()
    print("subscribed")
    for qos = 0, 2 do
      client:publish("hello/qos" .. qos, "Hello at QoS " .. qos, qos, 0)
    end
  end)
end, function(_, reason)
  print("no connection, reason " .. reason)
end)
