-- TLS: connects, shows that a message comes back, and closes. Arguments: host, port, and the file of the CA that has
-- signed the broker's certificate. Without the last the CAs decide that the system trusts.
--
--   mqtt-lua lua_examples/mqtt/tls.lua localhost 8883 ca.pem

local HOST, PORT, CA = arg[1] or "localhost", arg[2] or 8883, arg[3]

-- 1 would do for TLS; the table says more about it.
local secure = CA and { ca_cert = CA } or 1

local m = mqtt.Client("tls-" .. node.chipid(), 60)
local topic = "tls/" .. node.chipid()

m:on("message", function(client, _, data)
  print("received: " .. data)
  client:close()
end)

m:connect(HOST, PORT, secure, function(client)
  print("connected, the broker is who it should be")
  client:subscribe(topic, 1, function()
    client:publish(topic, "nobody else can read this", 1, 0)
  end)
end, function(_, reason, detail)
  -- -6: TLS said no, and detail says why: "unknown issuer", "expired on ...", "certificate is for ..."
  print("no connection, reason " .. reason .. ": " .. detail)
end)
