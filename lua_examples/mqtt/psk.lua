-- TLS with a pre-shared key: no certificates, device and broker know the same secret. Arguments: host, port, identity,
-- and the key in hexadecimal. Needs a build with the feature psk.
--
-- mosquitto's side: a listener with `psk_hint anything` and `psk_file keys`, and in the file a line identity:key.
--
--   mqtt-lua lua_examples/mqtt/psk.lua localhost 8884 device 00a1b2c3

local HOST, PORT = arg[1] or "localhost", arg[2] or 8884
local secure = { psk_identity = arg[3] or "device", psk_key = arg[4] or "00a1b2c3" }

local m = mqtt.Client("psk-" .. node.chipid(), 60)

m:connect(HOST, PORT, secure, function(client)
  print("connected, both sides know the key")
  client:publish("psk/" .. node.chipid(), "hello", 1, 0, function()
    print("published")
    client:close()
  end)
end, function(_, reason, detail)
  print("no connection, reason " .. reason .. ": " .. detail)
end)
