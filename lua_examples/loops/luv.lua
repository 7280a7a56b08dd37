-- MQTT beside other work in a luv loop: a clock that prints, a client that talks to itself.
-- Needs luv and a stock Lua; the broker is in the process.

local mqtt = require("mqtt")
local uv = require("luv")

local broker = require("mqtt.broker").start()
local client = mqtt.Client("loops-luv", 60)

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
local beats = 0
local timer = uv.new_timer()
timer:start(50, 50, function()
  beats = beats + 1
  if beats == 3 then
    print("three beats")
    timer:close()
  end
end)

require("mqtt.luv").start()
uv.run()

broker:stop()
print("done")
