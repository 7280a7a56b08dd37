-- Request and reply: a service answers each question on the topic that the question names.

local BROKER = "127.0.0.1"
local SERVICE = "service/upper"
local QUESTIONS = { "one", "two", "three" }

local function no_connection(_, reason)
  print("no connection, reason " .. reason)
end

-- The service: a request is "reply topic, space, text".
local function serve(ready)
  local service = mqtt.Client("service-" .. node.chipid(), 60)
  service:on("message", function(client, _, data)
    local reply_to, text = data:match("^(%S+) (.*)$")
    if reply_to then client:publish(reply_to, text:upper(), 1, 0) end
  end)
  service:connect(BROKER, 1883, 0, function(client)
    client:subscribe(SERVICE, 1, ready)
  end, no_connection)
  return service
end

-- The one who asks: the next question follows the answer to the last.
local function ask(service)
  local me = "asker-" .. node.chipid()
  local inbox = "reply/" .. me
  local asker = mqtt.Client(me, 60)
  local asked = 0

  local function next_question(client)
    asked = asked + 1
    if QUESTIONS[asked] then
      client:publish(SERVICE, inbox .. " " .. QUESTIONS[asked], 1, 0)
    else
      client:close()
      service:close()
    end
  end

  asker:on("message", function(client, _, data)
    print(QUESTIONS[asked] .. " -> " .. data)
    next_question(client)
  end)
  asker:connect(BROKER, 1883, 0, function(client)
    client:subscribe(inbox, 1, next_question)
  end, no_connection)
end

serve(ask)
