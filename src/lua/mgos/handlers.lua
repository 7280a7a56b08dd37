-- Turns the functions of a script into those that the loop calls: (connection, what an event gives) becomes the
-- manual's arguments.

local introduction, event = ...

-- looked up here and not for each message
local CLOSE, POLL, CONNACK, PUBLISH = event.EV_CLOSE, event.EV_POLL, event.EV_CONNACK, event.EV_PUBLISH
local PUBACK, SUBACK, UNSUBACK = event.EV_PUBACK, event.EV_SUBACK, event.EV_UNSUBACK

local bind = {}

-- For sub.
function bind.messages(fn, ud)
  return function(conn, topic, message) return fn(conn, topic, message or "", ud) end
end

-- For global_subscribe and add_global_handler: one function for each event, in the order of `Kind` in handlers.rs.
function bind.events(fn, ud)
  return
    function(conn, topic, message, qos, retain, _, id)
      local data = { topic = topic, message = message or "", qos = qos, retain = retain, packet_id = id }
      return fn(conn, PUBLISH, data, ud)
    end,
    function(conn, topic, _, code, _, _, id)
      return fn(conn, SUBACK, { topic = topic, codes = { code }, packet_id = id }, ud)
    end,
    function(conn) return fn(conn, CLOSE, {}, ud) end,
    function(conn, present) return fn(conn, CONNACK, { code = 0, session_present = present }, ud) end,
    function(conn, code) return fn(conn, CONNACK, { code = code, session_present = false }, ud) end,
    function(conn, id) return fn(conn, PUBACK, { packet_id = id }, ud) end,
    function(conn, id) return fn(conn, UNSUBACK, { packet_id = id }, ud) end,
    function(conn) return fn(conn, POLL, {}, ud) end
end

-- For add_cloud_handler, in the order of `Cloud` in handlers.rs.
function bind.cloud(fn)
  return
    function() return fn("connecting") end,
    function() return fn("connected") end,
    function() return fn("disconnected") end,
    function() return fn("connect-error") end
end

-- For set_connect_fn.
function bind.connect(fn, ud)
  return function(conn)
    local client_id, opts = introduction(conn)
    return fn(conn, client_id, opts, ud)
  end
end

return bind
