-- Several subscriptions one after the other, with the helpers of mqtt_helpers.lua, and their end.

local BROKER = "127.0.0.1"

-- The helpers lie beside this file. A device has all its files in one place, and no `arg`.
local here = arg and arg[0]:match("^.*/") or ""
dofile(here .. "mqtt_helpers.lua")

local TOPICS = {
  ["house/kitchen/light"] = 0,
  ["house/garden/+"] = 1,
  ["house/alarm/#"] = 2,
}

local m = mqtt.Client("many-" .. node.chipid(), 60)

local function unsubscribe_and_close(client)
  unsubscribe_multi(client, TOPICS, function()
    print("unsubscribed from everything")
    client:close()
  end)
end

m:on("message", function(client, topic, data)
  print(topic .. ": " .. data)
  if topic == "house/alarm/door" then unsubscribe_and_close(client) end
end)

m:connect(BROKER, 1883, 0, function(client)
  subscribe_multi(client, TOPICS, function()
    print("subscribed to everything")
    client:publish("house/cellar/light", "nobody listens to this one", 0, 0)
    client:publish("house/kitchen/light", "on", 0, 0)
    client:publish("house/garden/gate", "open", 1, 0)
    client:publish("house/alarm/door", "ajar", 2, 0)
  end)
end, function(_, reason)
  print("no connection, reason " .. reason)
end)
