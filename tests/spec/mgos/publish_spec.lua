-- pub, its formats, and what waits unsent.

local mgos_mqtt = require("mgos_mqtt")
local mqtt = require("mqtt")
local kit = require("mqtt.test")
local support = require("tests.spec.mgos.support")

-- A connection that cannot connect, with this bound for its queue.
local function away(max_queue_length)
  return support.conn(support.section(support.closed_port(), { max_queue_length = max_queue_length }))
end

-- What waits, once a broker is there.
local function sent_by(conn, broker, keys)
  conn:set_config(support.section(broker.port, keys))
  support.up(conn)
  kit.eventually(function() return conn:num_unsent_bytes() == 0 end)
  return support.payloads(broker, "t")
end

describe("pub", function()
  after_each(support.finish)

  it("returns the packet id that goes out", function()
    local conn, peer = support.paired()
    local id = conn:pub("t", "x", 1)
    assert.is_true(id > 0)
    local high, low = peer:read():byte(6, 7)
    assert.equal(id, high * 256 + low)
    assert.is_true(conn:pub("t", "x") > 0)
    assert.equal(support.packet(0x30, support.text("t") .. "x"), peer:read())
  end)

  it("sends QoS, retain and any bytes", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    for qos = 0, 2 do conn:pub("t", "a\0\255" .. qos, qos, true) end
    conn:pub("t", 17)
    kit.eventually(function() return #broker:received() == 4 end)
    for n, message in ipairs(broker:received()) do
      assert.same({ n <= 3 and "a\0\255" .. n - 1 or "17", n <= 3 and n - 1 or 0, n <= 3 },
        { message.payload, message.qos, message.retain })
    end
  end)

  it("returns 0 for QoS 0 without a connection, and without a configuration", function()
    assert.equal(0, away():pub("t", "x"))
    local conn = support.idle()
    for qos = 0, 2 do assert.equal(0, conn:pub("t", "x", qos)) end
  end)

  it("keeps QoS 1 and 2 for the connection, in order and without DUP", function()
    local broker = support.broker()
    local conn = away()
    for n = 1, 5 do assert.is_true(conn:pub("t", "m" .. n, 1 + n % 2) > 0) end
    assert.same({ "m1", "m2", "m3", "m4", "m5" }, sent_by(conn, broker))
    for _, message in ipairs(broker:received()) do assert.is_false(message.dup) end
  end)

  it("sends what waited before what is newer", function()
    local broker = support.broker()
    local conn = away()
    conn:pub("t", "old", 1)
    conn:add_global_handler(function(_, ev)
      if ev == mgos_mqtt.EV_CONNACK then conn:pub("t", "new", 1) end
    end)
    conn:set_config(support.section(broker.port))
    kit.eventually(function() return #broker:received() == 2 end)
    assert.same({ "old", "new" }, support.payloads(broker, "t"))
  end)

  it("drops the oldest beyond max_queue_length, with a warning", function()
    local warnings = {}
    mqtt.log(function(level, line) if level == "warn" then warnings[#warnings + 1] = line end end)
    local broker = support.broker()
    local conn = away(3)
    for n = 1, 5 do assert.is_true(conn:pub("t", "m" .. n, 1) > 0) end
    assert.same({ "m3", "m4", "m5" }, sent_by(conn, broker))
    local dropped = 0
    for _, line in ipairs(warnings) do
      if line:find("the oldest is dropped", 1, true) then dropped = dropped + 1 end
    end
    assert.equal(2, dropped)
  end)

  it("keeps 5 messages by default, and none where max_queue_length is 0", function()
    local broker = support.broker()
    local conn = away()
    for n = 1, 7 do conn:pub("t", "m" .. n, 2) end
    assert.same({ "m3", "m4", "m5", "m6", "m7" }, sent_by(conn, broker))
    assert.equal(0, away(0):pub("t", "x", 1))
  end)

  it("never drops what had been sent", function()
    local conn, peer = support.paired { max_queue_length = 2 }
    for n = 1, 4 do conn:pub("t", "sent" .. n, 1) end
    for _ = 1, 4 do peer:read() end
    peer:drop()
    kit.eventually(function() return not conn:global_is_connected() end)
    for n = 1, 4 do conn:pub("t", "waiting" .. n, 1) end
    peer:welcome()
    local seen = {}
    for n = 1, 6 do seen[n] = peer:read():sub(8) end
    assert.same({ "sent1", "sent2", "sent3", "sent4", "waiting3", "waiting4" }, seen)
  end)

  it("repeats with DUP where the broker kept the session, and afresh where not", function()
    local conn, peer = support.paired { clean_session = false }
    conn:pub("t", "x", 1)
    local first = peer:read()
    peer:drop()
    peer:welcome("\32\2\1\0")
    assert.equal("\58" .. first:sub(2), peer:read())
    peer:drop()
    peer:welcome()
    assert.equal(first, peer:read())
    conn:global_disconnect()
  end)

  it("is lowered to max_qos silently, also what waited", function()
    local broker = support.broker()
    local conn = away()
    conn:pub("t", "waited", 2)
    assert.same({ "waited" }, sent_by(conn, broker, { max_qos = 1 }))
    conn:pub("t", "two", 2)
    conn:set_max_qos(0)
    conn:pub("t", "one", 1)
    kit.eventually(function() return #broker:received() == 3 end)
    local levels = {}
    for n, message in ipairs(broker:received()) do levels[n] = message.qos end
    assert.same({ 1, 1, 0 }, levels)
  end)

  it("survives global_disconnect and another configuration", function()
    local broker = support.broker()
    local conn = away()
    conn:pub("t", "x", 1)
    conn:global_disconnect()
    conn:pub("t", "y", 2)
    assert.same({ "x", "y" }, sent_by(conn, broker))
  end)

  it("checks its arguments", function()
    local conn = support.idle()
    assert.error_matches(function() conn:pub("a/+", "x") end, "bad argument #1 to 'pub' %(topic name expected")
    assert.error_matches(function() conn:pub("a") end, "bad argument #2 to 'pub' %(string expected, got no value%)")
    assert.error_matches(function() conn:pub("a", "x", 3) end,
      "bad argument #3 to 'pub' %(integer 0..2 expected, got 3%)")
    assert.error_matches(function() mgos_mqtt.pub("a", "x", 0, "y") end, "bad argument #4 to 'pub'")
    local ok, problem = pcall(conn.pub, conn, "", "x")
    assert.is_false(ok)
    assert.equal("string", type(problem))
  end)
end)

describe("num_unsent_bytes", function()
  after_each(support.finish)

  it("counts payloads that wait or have no acknowledgement", function()
    local conn, peer = support.paired()
    assert.equal(0, conn:num_unsent_bytes())
    local id = conn:pub("t", "12345", 1)
    peer:read()
    kit.eventually(function() return conn:num_unsent_bytes() == 5 end)
    peer:drop()
    kit.eventually(function() return not conn:global_is_connected() end)
    conn:pub("t", "123", 2)
    assert.equal(8, conn:num_unsent_bytes())
    peer:welcome()
    peer:read()
    peer:send("\64\2\0" .. string.char(id))
    kit.eventually(function() return conn:num_unsent_bytes() == 3 end)
  end)
end)

describe("get_packet_id", function()
  after_each(support.finish)

  it("gives the next one at each call, never 0 and never one in flight", function()
    local conn = away()
    local held = conn:pub("t", "x", 1)
    local last = held
    for _ = 1, 70000 do
      local id = conn:get_packet_id()
      assert(id > 0 and id < 65536 and id ~= held, id)
      local expected = last == 65535 and 1 or last + 1
      if expected == held then expected = held + 1 end
      assert(id == expected, id)
      last = id
    end
    assert.is_true(mgos_mqtt.get_packet_id() > 0)
  end)
end)

describe("pubf", function()
  after_each(support.finish)

  local function published(...)
    local broker = support.broker()
    local conn = support.linked(broker)
    assert.is_true(conn:pubf("t", 1, false, ...) > 0)
    kit.eventually(function() return #broker:received() == 1 end)
    return broker:received()[1].payload
  end

  it("quotes keys and fills conversions", function()
    assert.equal('{"a": 5, "b": "x \\"y\\"", "c": null, "d": true}',
      published("{a: %d, b: %Q, c: %Q, d: %B}", 5, 'x "y"', nil, true))
    assert.equal('{"t": 21.50, "g": 0.1, "u": 7, "p": "5%"}',
      published('{t: %.2f, g: %g, u: %u, p: "%d%%"}', 21.5, 0.1, 7, 5))
    assert.equal('{"hex": "00ff", "base64": "AP8="}', published("{hex: %H, base64: %V}", "\0\255", "\0\255"))
    assert.equal('["a\\"b", [1]]', published('["%s", %s]', 'a"b', "[1]"))
  end)

  it("takes what a function returns for %M", function()
    assert.equal('{"v": [1,2,{"x":"y"}], "n": 5}', published("{v: %M, n: %M}",
      function() return { 1, 2, { x = "y" } } end,
      function() return 5 end))
  end)

  it("sends the QoS and the retain flag", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    conn:pubf("t", 2, true, "{}")
    kit.eventually(function() return #broker:received() == 1 end)
    local message = broker:received()[1]
    assert.same({ 2, true, "{}" }, { message.qos, message.retain, message.payload })
  end)

  it("raises where the result would not be JSON, and sends nothing", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    for message, arguments in pairs {
      ["bad argument #4 to 'pubf' %(the result is not JSON: "] = { "{a: %s}", "no" },
      ["bad argument #4 to 'pubf' %(%%x: one of d, i, u"] = { "{a: %x}", 5 },
      ["bad argument #4 to 'pubf' %(%%f: JSON has no "] = { "{a: %f}", 1 / 0 },
      ["bad argument #5 to 'pubf' %(number expected, got string%)"] = { "{a: %d}", "x" },
      ["bad argument #6 to 'pubf' %(string expected, got no value%)"] = { "{a: %d, b: %s}", 5 },
      ["bad argument #5 to 'pubf' %(function expected, got 5%)"] = { "{a: %M}", 5 },
      ["bad argument #5 to 'pubf' %(JSON has no function%)"] = { "{a: %M}", function() return print end },
      ["bad argument #5 to 'pubf' %(the function failed: .*oops"] = { "{a: %M}", function() error("oops") end },
    } do
      local ok, problem = pcall(conn.pubf, conn, "t", 0, false, arguments[1], arguments[2])
      assert.is_false(ok)
      assert.equal("string", type(problem))
      assert.truthy(problem:find(message), problem)
    end
    conn:pub("t", "last", 1)
    kit.eventually(function() return #broker:received() > 0 end)
    assert.same({ "last" }, support.payloads(broker, "t"))
  end)
end)

describe("pubv", function()
  after_each(support.finish)

  it("is pubf with a table of values", function()
    local broker = support.broker()
    local conn = support.linked(broker)
    assert.is_true(conn:pubv("t", 1, false, "{a: %d, b: %Q, c: %Q}", { 5, nil, "x" }) > 0)
    kit.eventually(function() return #broker:received() == 1 end)
    assert.equal('{"a": 5, "b": null, "c": "x"}', broker:received()[1].payload)
    assert.error_matches(function() conn:pubv("t", 1, false, "{}") end, "bad argument #5 to 'pubv' %(table expected")
  end)
end)
