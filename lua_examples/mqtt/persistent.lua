-- A persistent session: with cleansession 0 the broker keeps a client's subscriptions, and what is published to
-- them at QoS 1 and 2 while it is away.

local BROKER = "127.0.0.1"
local ID = "persistent-" .. node.chipid()
local KEEPALIVE, CLEAN, KEPT = 60, 1, 0

local function no_connection(_, reason)
  print("no connection, reason " .. reason)
end

-- Connects with the session `mode`, calls work(client, session_present), and next_step once the client is closed.
local function visit(id, mode, work, next_step)
  local m = mqtt.Client(id, KEEPALIVE, nil, nil, mode)
  m:on("offline", next_step or function() end)
  m:connect(BROKER, 1883, 0, work, no_connection)
  return m
end

local function forget()
  -- Connecting with cleansession 1 makes the broker drop the session.
  visit(ID, CLEAN, function(client) client:close() end)
end

local function come_back()
  local missed = 0
  local m = visit(ID, KEPT, function(_, session_present)
    print("back, session kept: " .. tostring(session_present))
  end, forget)
  m:on("message", function(client, topic, data)
    print("missed " .. topic .. ": " .. data)
    missed = missed + 1
    if missed == 2 then client:close() end
  end)
end

local function publish_meanwhile()
  visit("other-" .. node.chipid(), CLEAN, function(client)
    client:publish("news/today", "first", 1, 0, function()
      client:publish("news/today", "second", 1, 0, function() client:close() end)
    end)
  end, come_back)
end

visit(ID, KEPT, function(client)
  client:subscribe("news/#", 1, function()
    print("subscribed, going away")
    client:close()
  end)
end, publish_meanwhile)
