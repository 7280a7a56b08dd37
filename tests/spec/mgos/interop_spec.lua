-- What has to work with any broker over any transport: see support.target.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.mgos.support")

describe("mgos_mqtt and a broker #interop", function()
  local host, port, secure

  before_each(function() host, port, secure = support.target() end)
  after_each(support.finish)

  -- A section for a connection with an id of its own.
  local function section(keys)
    keys = keys or {}
    keys.client_id = keys.client_id or support.unique("mgos")
    local scheme, address = host:match("^(%a+)://(.*)$")
    keys.server = address or host .. ":" .. port
    keys.ws_enable = scheme == "ws" or scheme == "wss"
    if secure then
      keys.ssl_ca_cert, keys.ssl_cert, keys.ssl_key = secure.ca_cert, secure.client_cert, secure.client_key
      keys.ssl_psk_identity, keys.ssl_psk_key = secure.psk_identity, secure.psk_key
    end
    return support.section(0, keys)
  end

  -- The broker ends the connection with this id: another one comes with it.
  local function steal(id)
    local thief = support.client { clientid = id }
    local stolen = false
    thief:connect(host, port, secure, function(client)
      stolen = true
      client:close()
    end)
    kit.eventually(function() return stolen end)
  end

  -- The connection's subscription is there.
  local function ready(conn, filter, handler)
    local granted = false
    conn:global_subscribe(filter, function(_, ev, data)
      if ev == 209 then granted = data.codes[1] end
      if ev == 203 then handler(data) end
    end)
    kit.eventually(function() return granted end)
    assert.equal(1, granted)
  end

  it("deliver messages of each QoS", function()
    local topic = support.unique("t")
    local conn = support.up(support.conn(section()))
    local seen = {}
    ready(conn, topic, function(data) seen[#seen + 1] = data.message end)
    for qos = 0, 2 do assert.is_true(conn:pub(topic, "q" .. qos, qos) > 0) end
    support.entries(seen, 3)
    assert.same({ "q0", "q1", "q2" }, seen)
    kit.eventually(function() return conn:num_unsent_bytes() == 0 end)
  end)

  it("keep subscriptions and queued messages over a loss", function()
    local topic, id = support.unique("t"), support.unique("mgos")
    local conn = support.conn(section { client_id = id })
    local inbox = support.inbox(conn, topic)
    support.up(conn)
    conn:global_disconnect()
    for n = 1, 5 do assert.is_true(conn:pub(topic, "m" .. n, 2) > 0) end
    conn:global_connect()
    support.entries(inbox, 5)
    for n = 1, 5 do assert.same({ topic, "m" .. n }, inbox[n]) end
    steal(id)
    support.up(conn)
    kit.eventually(function()
      conn:pub(topic, "again", 1)
      return #inbox > 5
    end)
    assert.same({ topic, "again" }, inbox[6])
  end)

  it("deliver what was sent to a session that is kept, at QoS 2 once", function()
    local topic, id = support.unique("t"), support.unique("mgos")
    local conn = support.conn(section { client_id = id, clean_session = false })
    local seen = {}
    support.up(conn)
    ready(conn, topic, function(data) seen[#seen + 1] = data.message end)
    conn:global_disconnect()
    mqtt.run(1)
    local other = support.up(support.conn(section()))
    for n = 1, 3 do other:pub(topic, "m" .. n, 2) end
    kit.eventually(function() return other:num_unsent_bytes() == 0 end)
    conn:global_connect()
    support.entries(seen, 3)
    assert.same({ "m1", "m2", "m3" }, seen)
  end)

  it("publish the will of a connection that is lost", function()
    local topic, id = support.unique("t"), support.unique("mgos")
    local watcher = support.up(support.conn(section()))
    local seen = {}
    ready(watcher, topic, function(data) seen[#seen + 1] = data.message end)
    local lost = support.conn(section { client_id = id, will_topic = topic, will_message = "gone" })
    support.up(lost)
    steal(id)
    support.entries(seen, 1)
    assert.equal("gone", seen[1])
  end)

  it("publish JSON", function()
    local topic = support.unique("t")
    local conn = support.up(support.conn(section()))
    local seen = {}
    ready(conn, topic, function(data) seen[#seen + 1] = data.message end)
    conn:pubf(topic, 1, false, "{t: %.1f, name: %Q}", 21.5, 'a"b')
    support.entries(seen, 1)
    assert.equal('{"t": 21.5, "name": "a\\"b"}', seen[1])
  end)
end)
