-- Turns the functions of a script into those that the loop calls: (connection, what an event gives) becomes the
-- manual's arguments.

local introduction, event = ...

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
      return fn(conn, event.EV_PUBLISH, data, ud)
    end,
    function(conn, topic, _, code, _, _, id)
      return fn(conn, event.EV_SUBACK, { topic = topic, codes = { code }, packet_id = id }, ud)
    end,
    function(conn) return fn(conn, event.EV_CLOSE, {}, ud) end,
    function(conn, present) return fn(conn, event.EV_CONNACK, { code = 0, session_present = present }, ud) end,
    function(conn, code) return fn(conn, event.EV_CONNACK, { code = code, session_present = false }, ud) end,
    function(conn, id) return fn(conn, event.EV_PUBACK, { packet_id = id }, ud) end,
    function(conn, id) return fn(conn, event.EV_UNSUBACK, { packet_id = id }, ud) end,
    function(conn) return fn(conn, event.EV_POLL, {}, ud) end
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
