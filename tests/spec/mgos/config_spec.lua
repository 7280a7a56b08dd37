-- mgos_mqtt.configure: sections, keys, files and what is wrong with them.

local mgos_mqtt = require("mgos_mqtt")
local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.mgos.support")

local text = support.text

-- A file that is gone after the test.
local files = {}
local function file(content)
  local path = os.tmpname()
  local handle = assert(io.open(path, "w"))
  handle:write(content)
  handle:close()
  files[#files + 1] = path
  return path
end

local function finish()
  support.finish()
  for _, path in ipairs(files) do os.remove(path) end
  files = {}
end

describe("mgos_mqtt.configure", function()
  after_each(finish)

  it("connects at once where mqtt.enable is true, and does nothing otherwise", function()
    local broker = support.broker()
    mgos_mqtt.configure { mqtt = { server = "127.0.0.1:" .. broker.port } }
    assert.is_false(mgos_mqtt.global_connect())
    mgos_mqtt.configure { mqtt = { server = "127.0.0.1:" .. broker.port, enable = true } }
    kit.eventually(mgos_mqtt.global_is_connected)
    assert.equal(1, broker:accepted())
    mgos_mqtt.configure { mqtt = { server = "127.0.0.1:" .. broker.port } }
    assert.is_false(mgos_mqtt.global_is_connected())
  end)

  it("takes the keys of the section alone, and keys with their section", function()
    mgos_mqtt.configure { server = "a", keep_alive = 5, ["device.id"] = "d" }
    local config = mgos_mqtt.config()
    assert.same({ "a", 5, "d" }, { config.mqtt.server, config.mqtt.keep_alive, config.device.id })
  end)

  it("names section and key of what is wrong", function()
    local function wrong(config, message)
      local ok, problem = pcall(mgos_mqtt.configure, config)
      assert.is_false(ok)
      assert.equal("string", type(problem))
      assert.truthy(problem:find(message, 1, true), problem)
      assert.truthy(problem:find("config_spec.lua:%d+: bad argument #1 to 'configure' %("), problem)
    end
    wrong({ mqtt = { servr = "x" } }, "mqtt.servr: there is no such key")
    wrong({ mqtt1 = { keep_alive = "60" } }, "mqtt1.keep_alive: integer 0..65535 expected, got string")
    wrong({ mqtt1 = { keep_alive = 70000 } }, "mqtt1.keep_alive: integer 0..65535 expected, got 70000")
    wrong({ mqtt = { enable = 1 } }, "mqtt.enable: boolean expected, got 1")
    wrong({ mqtt = { enable = true } }, "mqtt.server: host or host:port expected where enable is true, got none")
    wrong({ mqtt = { server = print } }, "JSON has no function")
    wrong({ mqtt2 = {} }, "mqtt2: there is no such section")
    wrong({ debug = { stdout_topic = 5 } }, "debug.stdout_topic: string expected, got number")
    wrong({ mqtt = { enable = true, server = "h", ssl_ca_cert = "/nowhere/ca.pem" } }, "mqtt.ssl_ca_cert: ")
    wrong({ mqtt1 = { ssl_ca_cert = "ca.pem", ssl_cert = "c.pem" } }, "mqtt1.ssl_key: expected beside ssl_cert")
    wrong(nil, "table expected, got nil")
  end)

  it("leaves the configuration in force when the new one is wrong", function()
    mgos_mqtt.configure { server = "a" }
    assert.is_false(pcall(mgos_mqtt.configure, { server = 5 }))
    assert.equal("a", mgos_mqtt.config().mqtt.server)
  end)
end)

describe("mgos_mqtt.configure_file", function()
  after_each(finish)

  it("reads JSON with comments", function()
    local broker = support.broker()
    mgos_mqtt.configure_file(file([[
      { // the sections
        "mqtt": {
          "enable": true,                 // "not": this
          "server": "127.0.0.1:]] .. broker.port .. [[", /* nor
                                             "this": */
          "client_id": "a // b"
        },
        "device": { "id": "d" }
      }
    ]]))
    kit.eventually(mgos_mqtt.global_is_connected)
    assert.same({ "a // b" }, broker:clients())
  end)

  it("takes a block of the section's own keys", function()
    mgos_mqtt.configure_file(file('{ "enable": false, "server": "h", // a host\n "will_topic": "" }'))
    assert.equal("h", mgos_mqtt.config().mqtt.server)
  end)

  it("names the file, and the place or the key that is wrong", function()
    for content, message in pairs {
      ['{ "mqtt": { "keep_alive": "x" } }'] = "mqtt.keep_alive: integer 0..65535 expected, got string",
      ['{\n "mqtt": { "keep_alive" 5 } }'] = "expected `:` at line 2 column 25",
      ["{ /* "] = "line 1: the comment that begins here does not end",
      ["[]"] = "table of sections expected, got list",
    } do
      local path = file(content)
      local ok, problem = pcall(mgos_mqtt.configure_file, path)
      assert.is_false(ok)
      assert.truthy(problem:find(path .. ": " .. message, 1, true), problem)
    end
    local ok, problem = pcall(mgos_mqtt.configure_file, "/nowhere/conf.json")
    assert.is_false(ok)
    assert.truthy(problem:find("/nowhere/conf.json: ", 1, true), problem)
  end)
end)

describe("mgos_mqtt.config", function()
  after_each(finish)

  it("shows what is in force, defaults included and secrets not", function()
    mgos_mqtt.configure {
      mqtt = { server = "h", user = "u", pass = "secret" },
      mqtt1 = { server = "b", ssl_psk_identity = "i", ssl_psk_key = "5ec2e7" },
    }
    local config = mgos_mqtt.config()
    assert.equal("u", config.mqtt.user)
    assert.is_nil(config.mqtt.pass)
    assert.is_nil(config.mqtt1.ssl_psk_key)
    assert.same({ 60, true, 2, 60, 2, 5 }, {
      config.mqtt.keep_alive, config.mqtt.clean_session, config.mqtt.reconnect_timeout_min,
      config.mqtt.reconnect_timeout_max, config.mqtt.max_qos, config.mqtt.max_queue_length,
    })
    assert.same({ stdout_topic = "", stderr_topic = "" }, config.debug)
  end)
end)

describe("a section's keys", function()
  after_each(finish)

  it("fill CONNECT", function()
    local _, _, connect = support.paired {
      client_id = "me", user = "u", pass = "pw", keep_alive = 258, clean_session = false,
      will_topic = "gone", will_message = "bye", will_retain = true,
    }
    -- user, password, will retain, will QoS 0, will, no clean session
    local flags = string.char(128 + 64 + 32 + 4)
    local expected = text("MQTT") .. "\4" .. flags .. "\1\2"
      .. text("me") .. text("gone") .. text("bye") .. text("u") .. text("pw")
    assert.equal(support.hex(expected), support.hex(connect:sub(3)))
  end)

  it("have the manual's defaults", function()
    local _, _, connect = support.paired()
    assert.equal(support.hex(text("MQTT") .. "\4\2\0\60" .. text("spec")), support.hex(connect:sub(3)))
  end)

  it("leave the client id to the device's", function()
    local peer = support.peer()
    mgos_mqtt.configure {
      mqtt = support.section(peer.port, { client_id = "" }),
      device = { id = "device-7" },
    }
    assert.truthy(peer:welcome():find(text("device-7"), 1, true))
    mgos_mqtt.configure { mqtt = support.section(peer.port, { client_id = "" }) }
    assert.truthy(peer:welcome():find("mgos_%x%x%x%x%x%x$"))
  end)

  it("bound what is received: a larger message is acknowledged and dropped with a warning", function()
    local warnings = {}
    mqtt.log(function(level, line) if level == "warn" then warnings[#warnings + 1] = line end end)
    local broker = support.broker()
    local conn = support.idle()
    local inbox = support.inbox(conn, "t")
    conn:set_config(support.section(broker.port, { recv_mbuf_limit = 100 }))
    kit.eventually(function() return broker:subscriptions("spec").t end)
    broker:publish("t", ("x"):rep(200), 1)
    broker:publish("t", "small", 1)
    support.entries(inbox, 1)
    assert.same({ { "t", "small" } }, inbox)
    kit.eventually(function()
      for _, line in ipairs(warnings) do
        if line:find("recv_mbuf_limit", 1, true) then return true end
      end
    end)
  end)
end)
