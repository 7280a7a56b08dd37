-- Every function of mgos_mqtt and api_mqtt with every kind of wrong value in every place: a plain string that names the
-- place, and the broker hears nothing of it.

local mqtt = require("mqtt")
local mgos_mqtt = require("mgos_mqtt")
local MQTT = require("api_mqtt")
local support = require("tests.spec.mgos.support")
local wrong = require("tests.spec.wrong")

local unpack = rawget(_G, "unpack") or rawget(table, "unpack")

local nop, merge, without, check, all_fail = wrong.nop, wrong.merge, wrong.without, wrong.check, wrong.all_fail
local BYTES, TABLES, INTEGER, TEXT, TOPIC = wrong.BYTES, wrong.TABLES, wrong.INTEGER, wrong.TEXT, wrong.TOPIC
local FILTER, QOS, FLAG, CALLBACK = wrong.FILTER, wrong.QOS, wrong.FLAG, wrong.CALLBACK

local NO_TABLE = merge(without(BYTES, unpack(TABLES)), { ["1"] = 1, ["text"] = "x" })
local HANDLER = merge(CALLBACK, { ["nil"] = nil })
-- What a conversion of a format takes no number for.
local NUMBER = without(INTEGER, "0.5", "-1", "'-1'", "2^32", "2^53", "-2^63")
local UNKNOWN = { ["an unknown key"] = { servr = "x" }, ["a wrong value"] = { keep_alive = {} }, ["a list"] = { "x" } }

local METHODS = {
  pub = { { "t", "m", 0, false }, { TOPIC, BYTES, QOS, FLAG } },
  pubf = { { "t", 0, false, "{a: %d}", 1 }, { TOPIC, QOS, FLAG, TEXT, NUMBER } },
  pubv = { { "t", 0, false, "{}", {} }, { TOPIC, QOS, FLAG, TEXT, NO_TABLE } },
  sub = { { "f", nop }, { FILTER, HANDLER } },
  global_subscribe = { { "f", nop }, { FILTER, HANDLER } },
  unsub = { { "f" }, { FILTER } },
  add_global_handler = { { nop }, { HANDLER } },
  add_cloud_handler = { { nop }, { HANDLER } },
  set_connect_fn = { { nop }, { CALLBACK } },
  set_max_qos = { { 1 }, { QOS } },
  set_config = { { {} }, { merge(NO_TABLE, UNKNOWN) } },
  send_handshake = { { "id", {} }, { TEXT, NO_TABLE } },
}

local API = {
  pub = METHODS.pub,
  sub = METHODS.sub,
  setEventHandler = { { nop }, { CALLBACK } },
}

describe("a wrong value in any place", function()
  after_each(support.finish)

  it("is an error of a connection's methods, and the broker hears nothing of it", function()
    local conn, peer = support.paired()
    assert.is_true(check(METHODS, conn, conn) > 300)
    assert.is_true(conn:global_is_connected())
    assert.are.equal(0, conn:num_unsent_bytes())
    conn:global_disconnect()
    peer:expect_only_goodbye()
  end)

  it("is an error while the connection is away, which then has nothing to send", function()
    local conn = support.conn(support.section(support.closed_port()))
    check(METHODS, conn, conn)
    assert.are.equal(0, conn:num_unsent_bytes())
  end)

  it("is an error of the functions", function()
    local section = merge(NO_TABLE, UNKNOWN)
    check(merge(METHODS, { conn_create = { { 1, {}, {} }, { INTEGER, section, section } } }), mgos_mqtt)
    check(API, MQTT)
    assert.is_false(mgos_mqtt.global_is_connected())
    for what, value in pairs(merge(NO_TABLE, { ["an unknown section"] = { mqtt2 = {} } })) do
      local ok, message = pcall(mgos_mqtt.configure, value)
      assert(not ok and message:find("bad argument #1 to 'configure' (", 1, true), what .. ": " .. tostring(message))
    end
    for what, value in pairs(BYTES) do
      local ok, message = pcall(mgos_mqtt.configure_file, value)
      assert(not ok and message:find("bad argument #1 to 'configure_file' (", 1, true), what)
    end
  end)

  it("is an error of a configuration, under any key", function()
    local conn = support.idle()
    local text, number = without(TEXT, "a function"), merge(INTEGER, { ["65536"] = 65536 })
    all_fail("set_config", function(section) conn:set_config(section) end, {
      server = text, client_id = text, user = text, pass = text, will_topic = text, will_message = text,
      ssl_cert = text, ssl_key = text, ssl_ca_cert = text, ssl_cipher_suites = text, ssl_psk_identity = text,
      ssl_psk_key = text, keep_alive = number, enable = FLAG, clean_session = FLAG, max_qos = QOS,
      servr = { ["an unknown key"] = "x" }, [1] = { ["a list"] = "x" },
    })
    assert.is_false(conn:global_is_connected())
  end)

  it("is an error of what send_handshake is given, under any key", function()
    local conn = support.idle()
    all_fail("send_handshake", function(opts) conn:send_handshake("id", opts) end, {
      user_name = TEXT, password = BYTES, will_topic = TOPIC, will_message = BYTES, will_retain = FLAG,
      keep_alive = merge(INTEGER, { ["65536"] = 65536 }), clean_session = FLAG, username = { ["an unknown key"] = "x" },
    })
  end)

  it("as self is refused by every method", function()
    local conn, client = support.idle(), { ["a client of mqtt"] = mqtt.Client("self") }
    for name in pairs(METHODS) do
      for what, self in pairs(merge(wrong.ODD, wrong.BOOLEANS, { ["1"] = 1, ["text"] = "x" }, client)) do
        local ok, message = pcall(conn[name], self, "a", nop)
        assert(not ok and type(message) == "string", name .. " takes " .. what)
        assert(message:find(name, 1, true), message)
      end
    end
  end)

  it("is a connection as self of a client's methods", function()
    local conn, peer = support.paired()
    local client = mqtt.Client("self")
    local arguments = {
      lwt = { "t", "m" },
      on = { "offline", nop },
      connect = { "127.0.0.1", 1 },
      publish = { "t", "m", 1, 0, nop },
      subscribe = { "f", 0, nop },
      unsubscribe = { "f", nop },
      pending = {},
      state = {},
      close = {},
    }
    for name, with in pairs(arguments) do
      local ok, message = pcall(client[name], conn, unpack(with))
      local expected = ("calling '%s' on bad self (mqtt client expected)"):format(name)
      assert(not ok and message:find(expected, 1, true), message)
    end
    assert.is_false((pcall(client.publish, conn, "t", "m")))
    conn:global_disconnect()
    assert.are.equal(support.hex(support.DISCONNECT), support.hex(peer:read()))
  end)
end)
