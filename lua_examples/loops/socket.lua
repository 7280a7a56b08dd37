-- MQTT beside other work in a luasocket loop: a server that greets, a client that talks to itself.
-- Needs luasocket and a stock Lua; the broker is in the process.

local mqtt = require("mqtt")
local select = require("mqtt.socket").select
local socket = require("socket")

local broker = require("mqtt.broker").start()
local client = mqtt.Client("loops-socket", 60)

client:on("message", function(_, topic, data)
  print(topic, data)
  if data == "3" then client:close() end
end)

client:connect("127.0.0.1", broker.port, function()
  client:subscribe("count", 1, function()
    for i = 1, 3 do client:publish("count", i, 1) end
  end)
end)

-- A server of our own in the same loop: who connects is greeted.
local server = assert(socket.bind("127.0.0.1", 0))
local _, port = server:getsockname()
local visitor = assert(socket.connect("127.0.0.1", port))
local greeted = false

while client:state() ~= "idle" or not greeted do
  local readable = select({ server }, nil, 5)
  if readable[server] then
    local guest = server:accept()
    guest:send("welcome\n")
    guest:close()
    greeted = true
  end
end
print((visitor:receive()))
broker:stop()
print("done")
