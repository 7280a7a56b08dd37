-- MQTT beside other work in a cqueues loop: a clock that prints, a client that talks to itself.
-- Needs cqueues and a stock Lua; the broker is in the process.

local mqtt = require("mqtt")
local cqueues = require("cqueues")

local broker = require("mqtt.broker").start()
local client = mqtt.Client("loops-cqueues", 60)

client:on("message", function(_, topic, data)
  print(topic, data)
  if data == "3" then client:close() end
end)

client:connect("127.0.0.1", broker.port, function()
  client:subscribe("count", 1, function()
    for i = 1, 3 do client:publish("count", i, 1) end
  end)
end)

-- Other work of the loop.
local loop = cqueues.new()
loop:wrap(function()
  for _ = 1, 3 do cqueues.sleep(0.05) end
  print("three beats")
end)

require("mqtt.cqueues").start(loop)
assert(loop:loop())

broker:stop()
print("done")
