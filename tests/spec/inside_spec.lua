-- Everything that a script can do, inside every kind of callback: nothing hangs, nothing runs twice, and the client is
-- of use afterwards.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local kit = require("mqtt.test")
local support = require("tests.spec.support")

local HOST = "127.0.0.1"

local function nop() end

local function client(options)
  options = options or {}
  options.clientid, options.callbacks = support.unique("inside"), "each"
  return support.client(options)
end

local function connected(broker, options)
  local made = client(options)
  assert(made:connect(HOST, broker.port))
  kit.eventually(function() return made:state() == "connected" end)
  return made
end

local function refused()
  return { connack = 3 }
end

-- Places: each brings about one call of `act` and gives its client. `once`: there can be no other call.
local PLACES = {
  ["ok"] = { once = true, function(broker, act)
    local it = client()
    it:connect(HOST, broker.port, act)
    return it
  end },
  ["nok"] = { once = true, function(broker, act)
    local it = client()
    broker:next_faults(refused())
    it:connect(HOST, broker.port, nop, act)
    return it
  end },
  ["publish"] = { once = true, function(broker, act)
    local it = connected(broker)
    it:publish("t", "x", 2, 0, act)
    return it
  end },
  ["subscribe"] = { once = true, function(broker, act)
    local it = connected(broker)
    it:subscribe("inside", 1, act)
    return it
  end },
  ["unsubscribe"] = { once = true, function(broker, act)
    local it = connected(broker)
    it:unsubscribe("inside", act)
    return it
  end },
  ["a timer"] = { once = true, function(broker, act)
    tmr.create():alarm(1, tmr.ALARM_SINGLE, act)
    return connected(broker)
  end },
  ["log"] = { function(broker, act)
    mqtt.log(act)
    return connected(broker)
  end },
  ["trace"] = { function(broker, act)
    mqtt.trace(act)
    return connected(broker)
  end },
  ["the condition of wait"] = { function(broker, act)
    local it = connected(broker)
    mqtt.wait(function() return act(it) or true end, 1)
    return it
  end },
}

-- Those of `on`: how the event comes about.
local EVENTS = {
  connect = function(it, broker) it:connect(HOST, broker.port) end,
  connfail = function(it, broker)
    broker:next_faults(refused())
    it:connect(HOST, broker.port)
  end,
  message = function(it, broker)
    support.subscribed(it, "inside/#")
    broker:publish("inside/1", "x", 0)
  end,
  overflow = function(it, broker)
    support.subscribed(it, "inside/#")
    broker:publish("inside/1", ("x"):rep(2000), 0)
  end,
  offline = function(_, broker) broker:kill(broker:clients()[1]) end,
  puback = function(it) it:publish("t", "x", 1) end,
  suback = function(it) it:subscribe("inside") end,
  unsuback = function(it) it:unsubscribe("inside") end,
}
for event, bring_about in pairs(EVENTS) do
  PLACES["on " .. event] = { function(broker, act)
    local idle = event == "connect" or event == "connfail"
    local it = idle and client() or connected(broker, { max_message_length = 1000 })
    it:on(event, act)
    bring_about(it, broker)
    return it
  end }
end

local ACTIONS = {
  poll = function() mqtt.poll(0.001) end,
  run = function() mqtt.run(0.002) end,
  wait = function() mqtt.wait(function() return false end, 0.002) end,
  stop = function() mqtt.stop() end,
  close = function(it) it:close() end,
  connect = function(it, broker) it:connect(HOST, broker.port, 0, 1) end,
  ["connect and close"] = function(it, broker)
    it:connect(HOST, broker.port)
    it:close()
  end,
  publish = function(it) for qos = 0, 2 do it:publish("t", "x", qos, 0, nop) end end,
  ["subscribe and unsubscribe"] = function(it)
    it:subscribe("other", 1, nop)
    it:unsubscribe("other", nop)
  end,
  on = function(it) for _, event in ipairs(support.EVENTS) do it:on(event, nop) end end,
  lwt = function(it) it:lwt("t", "gone") end,
  ["another client"] = function(_, broker) client():connect(HOST, broker.port, function(c) c:close() end) end,
  ["all garbage"] = function() collectgarbage() end,
}

describe("inside", function()
  after_each(support.finish)

  for place, row in pairs(PLACES) do
    it(place .. " a script may do anything", function()
      for action, f in pairs(ACTIONS) do
        local broker = support.broker()
        local calls, subject = 0, nil
        subject = row[1](broker, function(it)
          calls = calls + 1
          if calls == 1 then f(type(it) == "userdata" and it.publish and it or subject or client(), broker) end
        end)
        kit.eventually(function() return calls > 0 end)
        mqtt.log(nil)
        mqtt.trace(nil)
        kit.settle()
        if row.once then assert(calls == 1, ("%s: %d calls"):format(action, calls)) end
        subject:connect(HOST, broker.port)
        local got = false
        subject:on("message", function(_, _, data) got = data == "after" end)
        kit.eventually(function() return subject:state() == "connected" end)
        support.subscribed(subject, "after/#")
        assert(subject:publish("after/" .. action, "after", 1))
        kit.eventually(function() return got end)
        support.finish()
      end
    end)
  end
end)
