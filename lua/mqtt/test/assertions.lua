-- Assertions for busted, that is luassert:
--
--   assert.published(broker, topic[, payload])   the broker received such a message, or does within two seconds
--   assert.connected(client)                     the client is connected, or is within two seconds
--
-- The opposites (assert.is_not.published…) look at once, after everything that is under way has run.

local assertions = {}

-- How long, in seconds, something may take that is expected.
local PATIENCE = 2

-- At most so many messages are listed.
local LISTED = 10

-- Waits for `holds()` if that is what is expected, or looks once; its value.
local function look(kit, state, holds)
  if not state.mod then
    kit.settle()
    return holds()
  end
  return (pcall(kit.eventually, holds, PATIENCE)) or holds()
end

local function quote(value)
  return value == nil and "any" or ("%q"):format(value)
end

local function list(messages)
  local lines = {}
  for i = math.max(1, #messages - LISTED + 1), #messages do
    local message = messages[i]
    lines[#lines + 1] = ("  %s %q qos %d%s, from %s"):format(
      message.topic, message.payload, message.qos, message.retain and " retained" or "", message.client)
  end
  return #lines > 0 and "it received:\n" .. table.concat(lines, "\n") or "it received nothing"
end

-- luassert shows what stands in the state's failure_message.
local function fail(state, text)
  state.failure_message = text
end

function assertions.register(luassert, kit)
  luassert:register("assertion", "published", function(state, arguments)
    local broker, topic, payload = arguments[1], arguments[2], arguments[3]
    local wanted = { topic = topic, payload = payload }
    local found = look(kit, state, function() return #broker:received(wanted) > 0 end)
    fail(state, ("the broker %s a message on %s with payload %s; %s"):format(
      state.mod and "did not receive" or "received", quote(topic), quote(payload), list(broker:received())))
    return found
  end)

  luassert:register("assertion", "connected", function(state, arguments)
    local client = arguments[1]
    local is_connected = look(kit, state, function() return client:state() == "connected" end)
    fail(state, ("the client is %s"):format(client:state()))
    return is_connected
  end)
end

return assertions
