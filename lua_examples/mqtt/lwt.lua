-- Last will: what the broker publishes when a device vanishes without a goodbye. A watcher sees one device come
-- and get lost, and another one leave in good order: only the lost one's will is published.

local BROKER = "127.0.0.1"
local STATUS = "status/"

local function no_connection(_, reason)
  print("no connection, reason " .. reason)
end

-- A device that announces itself, and whose will says that it is gone.
local function device(name, ready)
  local d = mqtt.Client(name .. "-" .. node.chipid(), 60)
  d:lwt(STATUS .. name, "lost", 1, 0)
  d:connect(BROKER, 1883, 0, function(client)
    client:publish(STATUS .. name, "here", 1, 0, ready)
  end, no_connection)
  return d
end

local watcher = mqtt.Client("watcher-" .. node.chipid(), 60)
local impostor

-- Called with each line "device: status" that the watcher receives.
local follow = {
  ["polite: here"] = function() device("unlucky") end,
  -- The broker cuts off a client when another one comes with the same id: the nearest thing to a power cut that
  -- a script can make.
  ["unlucky: here"] = function()
    impostor = mqtt.Client("unlucky-" .. node.chipid(), 60)
    impostor:connect(BROKER, 1883, 0, function() end, no_connection)
  end,
  ["unlucky: lost"] = function()
    impostor:close()
    watcher:close()
  end,
}

watcher:on("message", function(_, topic, data)
  local line = topic:sub(#STATUS + 1) .. ": " .. data
  print(line)
  if follow[line] then follow[line]() end
end)

watcher:connect(BROKER, 1883, 0, function(client)
  client:subscribe(STATUS .. "+", 1, function()
    device("polite", function(polite) polite:close() end)
  end)
end, no_connection)
