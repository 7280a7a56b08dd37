-- mqtt.Client, on, connect and close have a short way for what they are mostly called with. Nobody is to see which way
-- a call has taken.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local function nop() end

-- A callback that appends its name to the log.
local function note(log, name)
  return function() log[#log + 1] = name end
end

describe("both ways of", function()
  after_each(support.finish)

  it("mqtt.Client send the same CONNECT", function()
    -- short and long, as numbers serve for strings and strings for numbers only in the long one
    local ways = {
      { clientid = "17", keepalive = 30, username = "2", password = "3", cleansession = 0, inflight = 5 },
      { clientid = 17, keepalive = "30", username = 2, password = 3, cleansession = "0", inflight = "5" },
    }
    local sent = {}
    for n, options in ipairs(ways) do
      for m, client in ipairs({
        mqtt.Client(options),
        mqtt.Client(options.clientid, options.keepalive, options.username, options.password, options.cleansession),
      }) do
        local peer = support.peer()
        client:connect("127.0.0.1", peer.port)
        sent[2 * n + m - 2] = support.hex(peer:welcome())
        client:close()
      end
    end
    assert.are.same({ sent[1], sent[1], sent[1], sent[1] }, sent)
  end)

  it("mqtt.Client refuse the same", function()
    for _, wrong in ipairs({
      { clientid = "a\0b" },
      { clientid = "\255" },
      { clientid = ("x"):rep(65536) },
      { clientid = "", cleansession = 0 },
      { clientid = "a", keepalive = 1.5 },
      { clientid = "a", keepalive = 0 / 0 },
      { clientid = "a", cleansession = 2 },
      { clientid = "a", password = "p" },
      { clientid = "a", username = "u", password = ("x"):rep(65536) },
      { clientid = "a", callbacks = "Each" },
      { clientid = "a", connect_timeout = 0 },
      { clientid = "a", [1] = "b" },
    }) do
      local ok, message = pcall(mqtt.Client, wrong)
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'Client'", message)
    end
    assert.are.equal("idle", mqtt.Client("afterwards"):state())
  end)

  it("connect take numbers as strings", function()
    local broker = support.broker()
    for _, port in ipairs({ broker.port, tostring(broker.port) }) do
      local log, client = {}, support.client()
      client:connect("127.0.0.1", port, 0, 0, note(log, "ok"), note(log, "nok"))
      kit.eventually(function() return #log > 0 end)
      assert.are.same({ "ok" }, log)
    end
  end)

  it("connect empty the places of callbacks that are not given again", function()
    local broker = support.broker()
    for _, secure in ipairs({ 0, "0" }) do
      local log, client = {}, support.client()
      client:on("connect", note(log, "on"))
      client:connect("127.0.0.1", broker.port, secure, note(log, "ok"), note(log, "nok"))
      client:connect("127.0.0.1", broker.port, secure)
      kit.eventually(function() return #log > 0 end)
      kit.settle()
      assert.are.same({ "on" }, log)
    end
  end)

  it("close forget the callbacks of connect", function()
    local broker = support.broker()
    for _, callbacks in ipairs({ "last", "each" }) do
      local log, client = {}, mqtt.Client({ clientid = "closes", callbacks = callbacks })
      if callbacks == "each" then client:publish("t", "m", 0, 0, nop) end
      client:connect("127.0.0.1", broker.port, note(log, "ok"), note(log, "nok"))
      client:close()
      client:on("connect", note(log, "on"))
      client:connect("127.0.0.1", broker.port)
      kit.eventually(function() return #log > 0 end)
      assert.are.same({ "on" }, log)
      client:close()
    end
  end)
end)

describe("the short ways", function()
  after_each(support.finish)

  it("refuse a self that is no client", function()
    local client = support.client()
    for name, arguments in pairs({ on = { "message", nop }, connect = { "127.0.0.1", 1883, nop }, close = {} }) do
      for _, other in ipairs({ tmr.create(), io.stdout, {}, "client" }) do
        local ok, message = pcall(client[name], other, arguments[1], arguments[2], arguments[3])
        assert.is_false(ok)
        assert.matches("calling '" .. name .. "' on bad self", message)
      end
    end
  end)

  it("can be gone in a coroutine that is collected then", function()
    local broker, log, client = support.broker(), {}, nil
    coroutine.wrap(function()
      client = mqtt.Client({ clientid = "coroutine" })
      client:on("offline", note(log, "offline"))
      client:connect("127.0.0.1", broker.port, note(log, "ok"))
    end)()
    collectgarbage()
    kit.eventually(function() return #log == 1 end)
    coroutine.wrap(function() client:close() end)()
    collectgarbage()
    kit.eventually(function() return #log == 2 end)
    assert.are.same({ "ok", "offline" }, log)
  end)

  it("leave a closed client to the collector", function()
    local broker, log = support.broker(), {}
    local weak = setmetatable({}, { __mode = "v" })
    do
      local client = mqtt.Client({ clientid = "short-lived" })
      client:connect("127.0.0.1", broker.port, note(log, "ok"))
      weak[1] = client
      client:close()
    end
    kit.eventually(function()
      collectgarbage()
      return weak[1] == nil
    end)
    assert.are.same({}, log)
  end)
end)
