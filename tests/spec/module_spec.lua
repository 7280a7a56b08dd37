-- The module itself: loading, matches, stats, trace and log.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local text, packet = support.text, support.packet

describe("the module", function()
  it("has the constants of the manual", function()
    local expected = {
      CONN_FAIL_TLS = -6,
      CONN_FAIL_SERVER_NOT_FOUND = -5,
      CONN_FAIL_NOT_A_CONNACK_MSG = -4,
      CONN_FAIL_DNS = -3,
      CONN_FAIL_TIMEOUT_RECEIVING = -2,
      CONN_FAIL_TIMEOUT_SENDING = -1,
      CONNACK_ACCEPTED = 0,
      CONNACK_REFUSED_PROTOCOL_VER = 1,
      CONNACK_REFUSED_ID_REJECTED = 2,
      CONNACK_REFUSED_SERVER_UNAVAILABLE = 3,
      CONNACK_REFUSED_BAD_USER_OR_PASS = 4,
      CONNACK_REFUSED_NOT_AUTHORIZED = 5,
    }
    for name, value in pairs(expected) do assert.are.equal(value, mqtt[name], name) end
  end)

  it("tells its release", function() assert.matches("%d+%.%d+%.%d+$", mqtt._VERSION) end)

  it("is the same under the name that no other rock uses", function()
    assert.are.equal(mqtt, require("nodemcu.mqtt"))
  end)

  it("comes with timers and a broker", function()
    assert.are.equal("function", type(require("mqtt.tmr").create))
    assert.are.equal("table", type(require("mqtt.broker")))
  end)

  it("says who it is when called as luamqtt is", function()
    local ok, message = pcall(function()
      local client = mqtt.client { uri = "localhost" }
      return client
    end)
    assert.is_false(ok)
    assert.are.equal("string", type(message))
    assert.matches("module_spec.lua:%d+: ", message)
    assert.matches("luamqtt", message)
    assert.matches("mqtt.Client", message, 1, true)
  end)

  it("defines no globals", function()
    local status, output = support.script([[
      local before = {}
      for name in pairs(_G) do before[name] = true end
      require("mqtt")
      require("mqtt.tmr")
      require("mqtt.broker")
      for name in pairs(_G) do if not before[name] then print(name) end end
    ]])
    assert.are.same({ 0, "" }, { status, output })
  end)
end)

describe("mqtt.matches", function()
  -- Filter, topic, whether the one matches the other.
  for _, case in ipairs {
    { "a/b", "a/b", true }, { "a/b", "a/c", false }, { "a/b", "A/b", false }, { "a", "a/", false },
    { "+", "a", true }, { "+", "a/b", false }, { "+/+", "/a", true }, { "/+", "/a", true }, { "+", "/a", false },
    { "a/+/c", "a/b/c", true }, { "a/+/c", "a//c", true }, { "a/+", "a", false }, { "a/+", "a/", true },
    { "#", "a/b/c", true }, { "a/#", "a/b/c", true }, { "a/#", "a", true }, { "a/#", "ab", false },
    { "#", "$SYS/x", false }, { "+/x", "$SYS/x", false }, { "$SYS/#", "$SYS/x", true }, { "$SYS/+", "$SYS/x", true },
    { "$share/group/a/+", "a/b", true }, { "$share/group/a/+", "b/a", false }, { "$share/group/#", "$SYS/x", false },
  } do
    it(("says %s of %s and %s"):format(tostring(case[3]), case[1], case[2]), function()
      assert.are.equal(case[3], mqtt.matches(case[1], case[2]))
    end)
  end
end)

describe("mqtt.stats", function()
  after_each(support.finish)

  it("is a table of numbers that grow with the traffic", function()
    local before = mqtt.stats()
    local client, peer = support.pair()
    client:publish("t", "x")
    peer:read()
    local got = false
    client:on("message", function() got = true end)
    peer:send(packet(0x30, text("m") .. "x"))
    kit.eventually(function() return got end)
    local after = mqtt.stats()
    local grown = 0
    for name, value in pairs(after) do
      assert.are.equal("string", type(name))
      if type(value) == "number" and value > (before[name] or 0) then grown = grown + 1 end
    end
    -- Packets and bytes both ways, messages, callbacks.
    assert(grown >= 5, grown)
  end)

  it("can be asked for at any time", function()
    assert.are.equal("table", type(mqtt.stats()))
  end)
end)

describe("mqtt.trace", function()
  after_each(support.finish)

  it("tells of a packet before the callback that it leads to", function()
    local client, peer = support.pair()
    local order = {}
    mqtt.trace(function(line) order[#order + 1] = line:match("PUBLISH") end)
    client:on("message", function(_, _, data) order[#order + 1] = data end)
    for n = 1, 3 do
      peer:send(support.packet(0x30, support.text("t") .. n))
      kit.eventually(function() return #order == 2 * n end)
    end
    assert.are.same({ "PUBLISH", "1", "PUBLISH", "2", "PUBLISH", "3" }, order)
  end)

  it("has a line per packet, without payloads and passwords", function()
    local lines = {}
    mqtt.trace(function(line) lines[#lines + 1] = line end)
    local client, peer = support.pair { username = "user", password = "top-secret-password" }
    client:lwt("gone", "secret-will")
    client:publish("my/topic", "secret-payload", 1)
    peer:read()
    peer:send("\64\2\0\1" .. packet(0x30, text("my/news") .. "secret-news"))
    kit.eventually(function() return table.concat(lines, "\n"):find("my/news", 1, true) end)
    local all = table.concat(lines, "\n")
    for _, name in ipairs { "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "my/topic" } do
      assert.matches(name, all, 1, true)
    end
    assert.is_nil(all:find("secret", 1, true))
    for _, line in ipairs(lines) do assert.is_nil(line:find("\n", 1, true)) end
  end)

  it("ends with nil", function()
    local lines = 0
    mqtt.trace(function() lines = lines + 1 end)
    local client, peer = support.pair()
    kit.eventually(function() return lines >= 2 end)
    mqtt.trace(nil)
    local before = lines
    client:publish("t", "x")
    peer:read()
    kit.settle()
    assert.are.equal(before, lines)
  end)
end)

describe("mqtt.log", function()
  after_each(support.finish)

  it("gets levels and texts, in the loop", function()
    local entries = {}
    local client, peer = support.pair()
    mqtt.log(function(...) entries[#entries + 1] = { ... } end)
    client:subscribe("forbidden", 0)
    peer:send("\144\3" .. peer:read():sub(3, 4) .. "\128")
    assert.are.equal(0, #entries)
    kit.eventually(function() return #entries > 0 end)
    for _, entry in ipairs(entries) do
      assert.are.equal(2, #entry)
      assert.are.equal("string", type(entry[1]))
      assert.are.equal("string", type(entry[2]))
    end
  end)

  it("is silent without a function", function()
    local status, output = support.script([[
      local mqtt = require("mqtt")
      mqtt.Client("x"):connect("127.0.0.1", arg[1])
      mqtt.run(5)
    ]], support.closed_port())
    assert.are.same({ 0, "" }, { status, output })
  end)
end)
