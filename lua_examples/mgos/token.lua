-- Rotating tokens, as brokers in the cloud want them: a function is asked whenever CONNECT is due, and puts a fresh
-- token in. The embedded broker ends the connection twice, so that there are three.

local mgos_mqtt = require("mgos_mqtt")
local broker = require("mqtt.broker").start()

local DEVICE, CONNECTIONS = "token-device", 3

-- A real one would sign a claim with an expiry here.
local issued = 0
local function new_token()
  issued = issued + 1
  return ("token-%d"):format(issued)
end

mgos_mqtt.set_connect_fn(function(conn, client_id, opts)
  opts.user_name = "unused"
  opts.password = new_token()
  print("connecting with " .. opts.password)
  conn:send_handshake(client_id, opts)
end)

local connections = 0
mgos_mqtt.add_global_handler(function(_, ev)
  if ev ~= mgos_mqtt.EV_CONNACK then return end
  connections = connections + 1
  print("accepted")
  if connections < CONNECTIONS then broker:kill(DEVICE) else mgos_mqtt.global_disconnect() end
end)

mgos_mqtt.configure {
  mqtt = { enable = true, server = "127.0.0.1:" .. broker.port, client_id = DEVICE, reconnect_timeout_min = 0.02 },
}
