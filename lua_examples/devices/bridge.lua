-- A bridge between two brokers. Readings of the near one go to the far one under the name of this site, commands for
-- this site come back. The two directions have topics of their own, so nothing goes round in circles. What arrives
-- while the other broker is away is lost: the bridge has no memory.

local SITE = "north"
local RETRY_MS = 1000

local near = { host = "near.local", filter = "readings/#" }
local far = { host = "far.local", filter = SITE .. "/commands/#" }

-- Topics on the other side.
function near.translate(topic) return SITE .. "/" .. topic end
function far.translate(topic) return topic:sub(#SITE + 2) end

near.other, far.other = far, near

local function forward(side, topic, data, qos)
  local other = side.other
  if not other.is_connected then
    print("lost: " .. topic)
    return
  end
  other.client:publish(side.translate(topic), data or "", qos or 0, 0)
end

local function open(side, name)
  local client = mqtt.Client(("bridge-%s-%06x"):format(name, node.chipid()), 30)
  side.client = client
  side.is_connected = false

  local connect

  local function try_again()
    side.is_connected = false
    tmr.create():alarm(RETRY_MS, tmr.ALARM_SINGLE, connect)
  end

  function connect()
    client:connect(side.host, 1883, 0, function()
      client:subscribe(side.filter, 1, function()
        side.is_connected = true
        print(name .. " is there")
      end)
    end, try_again)
  end

  client:on("offline", try_again)
  client:on("message", function(_, topic, data, qos) forward(side, topic, data, qos) end)
  connect()
end

open(near, "near")
open(far, "far")
