-- What the specs of mgos_mqtt share: connections that are ended after each test.

local mgos_mqtt = require("mgos_mqtt")
local mqtt = require("mqtt")
local kit = require("mqtt.test")
local base = require("tests.spec.support")

local support = setmetatable({}, { __index = base })

local connections = {}
-- Those whose script has been told that they are up.
local told = setmetatable({}, { __mode = "k" })
-- Each file has its own copy of this one, and all have the same connections.
local last_number = math.floor(os.clock() * 1e6)

-- One section: enabled, at a port of this machine, with quick reconnects. `keys` are added, or replace those.
function support.section(port, keys)
  local section = {
    enable = true,
    server = "127.0.0.1:" .. port,
    client_id = "spec",
    reconnect_timeout_min = 0.02,
    reconnect_timeout_max = 0.05,
  }
  for key, value in pairs(keys or {}) do section[key] = value end
  return section
end

-- One for conn_create that nobody else has.
function support.number()
  last_number = last_number + 1
  return last_number
end

-- A connection of conn_create with these sections, under a number of its own.
function support.conn(section, section1)
  local conn = mgos_mqtt.conn_create(support.number(), section, section1)
  connections[#connections + 1] = conn
  conn:add_cloud_handler(function(event) told[conn] = event == "connected" end)
  return conn
end

-- One that is not enabled yet, so that handlers can be put in before it connects (by set_config).
function support.idle()
  return support.conn({})
end

-- Waits until it is connected, and has told its handlers.
function support.up(conn)
  kit.eventually(function() return told[conn] and conn:global_is_connected() end)
  return conn
end

-- A connection that is up, at the broker.
function support.linked(broker, keys)
  return support.up(support.conn(support.section(broker.port, keys)))
end

-- A connection whose peer speaks in bytes, the peer, and the CONNECT it got.
function support.paired(keys, prepare)
  local peer = base.peer()
  local conn = support.idle()
  if prepare then prepare(conn) end
  conn:set_config(support.section(peer.port, keys))
  local connect = peer:welcome()
  support.up(conn)
  return conn, peer, connect
end

-- A list that grows by what a handler is called with, and the handler.
function support.recorder()
  local list = {}
  return list, function(...) list[#list + 1] = { n = select("#", ...), ... } end
end

-- A list of the connection's events: { event, data, ud }, EV_POLL left out.
function support.events(conn, ud)
  local list = {}
  conn:add_global_handler(function(_, ev, data, given)
    if ev ~= mgos_mqtt.EV_POLL then list[#list + 1] = { ev, data, given } end
  end, ud)
  return list
end

-- A list of the connection's cloud events.
function support.cloud(conn)
  local list = {}
  conn:add_cloud_handler(function(event) list[#list + 1] = event end)
  return list
end

-- What a connection's messages are: { topic, message } for those that match.
function support.inbox(conn, filter)
  local list = {}
  conn:sub(filter, function(_, topic, message) list[#list + 1] = { topic, message } end)
  return list
end

-- The payloads that the broker has received on a topic.
function support.payloads(broker, topic)
  local list = {}
  for _, message in ipairs(broker:received()) do
    if message.topic == topic and not message.repeated then list[#list + 1] = message.payload end
  end
  return list
end

-- Ends everything that a test started.
function support.finish()
  for _, conn in ipairs(connections) do conn:global_disconnect() end
  mgos_mqtt.configure({})
  while mqtt.poll() > 0 do end -- luacheck: ignore 542
  connections = {}
  base.finish()
end

return support
