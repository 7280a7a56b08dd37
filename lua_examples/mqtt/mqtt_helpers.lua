-- Several topics one after the other. A client has one callback for all its SUBACKs (and one for all its
-- UNSUBACKs), and a device has little memory for packets under way, so each call is made from the callback of the
-- one before it.
--
-- Both functions take a table with the topics as keys and call cb(client) at the end, also when the table is
-- empty. A topic that the broker refuses ends the chain there: cb is not called.

-- Calls step(topic, value, continue) for every entry of `topics` in turn, then cb(client). `topics` may be
-- changed meanwhile. The last `continue` stays behind as the client's callback, so it does nothing when called again.
local function each_in_turn(client, topics, step, cb)
  local names, values = {}, {}
  for name, value in pairs(topics) do
    names[#names + 1] = name
    values[#values + 1] = value
  end

  local position = 0
  local function continue()
    position = position + 1
    if position <= #names then
      step(names[position], values[position], continue)
    elseif position == #names + 1 and cb then
      cb(client)
    end
  end
  continue()
end

-- Subscribes to the topics of `topics` (topic -> qos).
function subscribe_multi(client, topics, cb)
  each_in_turn(client, topics, function(topic, qos, continue)
    client:subscribe(topic, qos, continue)
  end, cb)
end

-- Unsubscribes from the topics of `topics` (topic -> anything).
function unsubscribe_multi(client, topics, cb)
  each_in_turn(client, topics, function(topic, _, continue)
    client:unsubscribe(topic, continue)
  end, cb)
end
