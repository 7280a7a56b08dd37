-- MQTT inside of a WebSocket, for networks that let nothing but the web through. Arguments: the broker's address as
-- ws:// or wss://, and for the latter the file of its CA, unless the system trusts that.
--
--   mqtt-lua lua_examples/mqtt/websocket.lua wss://localhost:8443/mqtt ca.pem

local URI, CA = arg[1] or "ws://localhost:8080/mqtt", arg[2]

-- Headers are for gateways in front of the broker.
local options = { headers = { ["X-Device"] = "device-" .. node.chipid() }, ca_cert = CA }

local m = mqtt.Client("websocket-" .. node.chipid(), 60)
local topic = "websocket/" .. node.chipid()

m:on("message", function(client, _, data)
  print("received: " .. data)
  client:close()
end)

m:connect(URI, nil, options, function(client)
  print("connected")
  client:subscribe(topic, 0, function() client:publish(topic, "through the web", 0, 0) end)
end, function(_, reason, detail)
  print("no connection, reason " .. reason .. ": " .. detail)
end)
