-- Mutual TLS, as AWS IoT and other clouds want it: the device shows a certificate instead of a password. Arguments:
-- host, port, CA, certificate and key of the device. On port 443 AWS tells MQTT from HTTPS by an ALPN protocol.
--
--   mqtt-lua lua_examples/mqtt/mutual_tls.lua abc-ats.iot.eu-west-1.amazonaws.com 8883 root.pem device.pem device.key

local HOST, PORT = arg[1] or "localhost", tonumber(arg[2] or 8883)
local CA, CERTIFICATE, KEY = arg[3] or "ca.pem", arg[4] or "client.pem", arg[5] or "client.key"
local THING = "thing-" .. node.chipid()

local secure = {
  ca_cert = CA,
  client_cert = CERTIFICATE,
  client_key = KEY,
  alpn = PORT == 443 and { "x-amzn-mqtt-ca" } or nil,
}

-- The cloud may hang up at any time: come back by yourself, within half a minute.
local AUTORECONNECT = { min = 1, max = 30 }

local m = mqtt.Client(THING, 300)
local state = "things/" .. THING .. "/state"

m:connect(HOST, PORT, secure, AUTORECONNECT, function(client)
  print("connected with a certificate")
  client:publish(state, '{"on":true}', 1, 0, function()
    print("state stored")
    client:close()
  end)
end, function(_, reason, detail)
  print("no connection, reason " .. reason .. ": " .. detail)
end)
