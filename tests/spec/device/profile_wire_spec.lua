-- The rows of the table in the guide, under both profiles: what the two firmwares send, and how much they receive.

local kit = require("mqtt.test")
local strict = require("tests.spec.device.strict")
local support = require("tests.spec.support")

local warnings, broker

before_each(function() warnings, broker = strict.begin() end)
after_each(strict.finish)

-- What a strict client sends as CONNECT, by a peer that speaks in bytes.
local function connect_packet(make)
  local peer = support.peer()
  local client = strict.keep(make())
  client:connect("127.0.0.1", peer.port, 0)
  local packet = peer:welcome()
  kit.eventually(function() return client._native:state() == "connected" end)
  return packet
end

-- Flags and keep-alive of a CONNECT, and what follows.
local function parts(packet)
  local start = packet:find("MQTT", 1, true) + 5
  return packet:byte(start), packet:byte(start + 1) * 256 + packet:byte(start + 2), packet:sub(start + 3)
end

describe("the will", function()
  local function flags(chip)
    return (parts(connect_packet(function()
      local client = strict.client(chip, nil, nil)
      client:lwt("will", "gone", 1, 1)
      return client
    end)))
  end

  strict.under("is sent with qos and retain, or without", {
    -- retain 0x20, qos 1 0x08, will 0x04
    esp8266 = function(chip) assert.are.equal(0x2C, flags(chip) % 64 - flags(chip) % 4) end,
    esp32 = function(chip) assert.are.equal(0x04, flags(chip) % 64 - flags(chip) % 4) end,
  })
end)

describe("cleansession", function()
  local function clean(chip, ...)
    local arguments, count = { ... }, select("#", ...)
    return parts(connect_packet(function() return strict.client(chip, "id", unpack(arguments, 1, count)) end)) % 4 == 2
  end

  strict.under("is 0 unless told, or 1", {
    esp8266 = function(chip)
      assert.is_false(clean(chip))
      assert.is_true(clean(chip, "user", "password", 1))
      assert.is_true(clean(chip, "user", "password", 5))
    end,
    esp32 = function(chip)
      assert.is_true(clean(chip))
      assert.is_false(clean(chip, "user", "password", 0))
      assert.is_false(clean(chip, nil, nil, 0))
    end,
  })
end)

describe("keepalive 0", function()
  local function keepalive(chip)
    return (select(2, parts(connect_packet(function()
      return strict.modules[chip].Client("id", 0)
    end))))
  end

  strict.under("becomes 60, or 120", {
    esp8266 = function(chip) assert.are.equal(60, keepalive(chip)) end,
    esp32 = function(chip) assert.are.equal(120, keepalive(chip)) end,
  })
end)

describe("a long message", function()
  local function receive(chip, payload, qos)
    local client = strict.connected(chip)
    local log, note = strict.notes()
    client:on("message", note("message"))
    if chip == "esp8266" then client:on("overflow", note("overflow")) end
    local subscribed = false
    client:subscribe("topic", 2, function() subscribed = true end)
    kit.eventually(function() return subscribed end)
    broker:publish("topic", payload, qos or 0)
    broker:publish("topic", "end")
    kit.eventually(function() return #log > 0 and log[#log][5] == "end" end)
    log[#log] = nil
    return log
  end

  strict.under("overflows, or comes in pieces", {
    esp8266 = function(chip)
      local log = receive(chip, ("x"):rep(2000))
      assert.are.equal("overflow", strict.names(log))
      assert.are.equal("topic", log[1][4])
      assert(#log[1][5] < 1024)
      assert.are.equal("message", strict.names(receive(chip, ("x"):rep(1000))))
    end,
    esp32 = function(chip)
      local text = ("0123456789"):rep(300)
      for qos = 0, 1 do
        local log = receive(chip, text, qos)
        assert.are.equal("message message message", strict.names(log))
        assert.are.same({ "topic", "", "" }, { log[1][4], log[2][4], log[3][4] })
        assert.are.equal(text, log[1][5] .. log[2][5] .. log[3][5])
        assert.are.equal(1024 - 3 - 2 - #"topic" - (qos > 0 and 2 or 0), #log[1][5])
        assert.are.equal(1024, #log[2][5])
      end
      assert.are.equal("message", strict.names(receive(chip, ("x"):rep(1000))))
    end,
  })
end)

describe("long names", function()
  local long = ("x"):rep(200)

  local function fields(chip)
    local _, _, rest = parts(connect_packet(function()
      local client = strict.modules[chip].Client(long, 60, long, long)
      client:lwt(long, long)
      return client
    end))
    local lengths = {}
    while #rest > 0 do
      local length = rest:byte(1) * 256 + rest:byte(2)
      lengths[#lengths + 1] = length
      rest = rest:sub(3 + length)
    end
    return lengths
  end

  strict.under("are cut", {
    -- client id, will topic, will message, user name, password
    esp8266 = function(chip)
      assert.are.same({ 64, 200, 200, 64, 64 }, fields(chip))
      assert.are.equal(3, #warnings)
      assert.matches("^.-profile_wire_spec%.lua:%d+: the esp8266 cuts the clientid to 64 bytes$", warnings[1])
    end,
    esp32 = function(chip)
      assert.are.same({ 32, 32, 128, 32, 65 }, fields(chip))
      assert.are.equal(5, #warnings)
    end,
  })
end)

describe("an empty user name and password", function()
  strict.under("are not sent", function(chip)
    local flags = parts(connect_packet(function() return strict.modules[chip].Client("id", 60, "", "") end))
    assert(flags < 64, flags)
  end)
end)

describe("the constructor", function()
  strict.under("leaves everything out, or wants an id and a keep-alive", {
    esp8266 = function(chip)
      strict.keep(strict.modules[chip].Client())
      strict.fails("no arguments by name", function() strict.modules[chip].Client { clientid = "x" } end)
    end,
    esp32 = function(chip)
      local Client = strict.modules[chip].Client
      strict.fails("bad argument #1 to 'Client' %(string expected, got no value%)", function() Client() end)
      strict.fails("bad argument #2 to 'Client' %(number expected, got no value%)", function() Client("x") end)
      strict.fails("bad argument #1 to 'Client' %(string expected, got table%)", function()
        strict.modules[chip].Client { clientid = "x" }
      end)
    end,
  })

  strict.under("makes clients with the chip's methods only", function(chip)
    local client = strict.client(chip)
    strict.fails("the " .. chip .. "'s clients have no 'pending'", function() client:pending() end)
    assert.matches(chip, tostring(client))
  end)
end)
