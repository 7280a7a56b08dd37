-- A backup server: when the main one has gone, the device turns to the other, subscriptions and queued messages with
-- it, and when that fails too it comes back. Both are embedded brokers here, and the script ends them.

local mgos_mqtt = require("mgos_mqtt")
local broker = require("mqtt.broker")

local main, backup = broker.start(), broker.start()

-- Where a connection has come to.
local function where()
  if #main:clients() > 0 then return "the main server" end
  if #backup:clients() > 0 then return "the backup server" end
  return "nowhere"
end

local function section(server)
  return {
    enable = true,
    server = "127.0.0.1:" .. server.port,
    reconnect_timeout_min = 0.02, -- 2 and 60 by default
    reconnect_timeout_max = 0.08,
  }
end

local arrivals = 0
mgos_mqtt.add_cloud_handler(function(event)
  if event == "disconnected" then
    print("lost the connection")
    -- kept until there is a connection again, whichever it is
    mgos_mqtt.pub("device/log", "message " .. arrivals .. " while away", 1)
  elseif event == "connected" then
    arrivals = arrivals + 1
    print("connected to " .. where())
  end
end)

mgos_mqtt.sub("device/log", function(_, _, message)
  print("received: " .. message)
  if arrivals == 2 then
    main:restart()
    backup:stop()
  else
    mgos_mqtt.global_disconnect()
  end
end)

mgos_mqtt.global_subscribe("device/ready", function(_, ev)
  if ev == mgos_mqtt.EV_SUBACK and arrivals == 1 then
    print("the main server stops")
    main:stop()
  end
end)

mgos_mqtt.configure { mqtt = section(main), mqtt1 = section(backup), device = { id = "two-homes" } }
