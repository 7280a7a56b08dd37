-- MQTT beside other work in a copas loop: a server that greets, a client that talks to itself.
-- Needs copas and a stock Lua; the broker is in the process.

local mqtt = require("mqtt")
local copas = require("copas")
local socket = require("socket")

local broker = require("mqtt.broker").start()
local client = mqtt.Client("loops-copas", 60)

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
copas.addserver(server, function(guest)
  copas.send(guest, "welcome\n")
  guest:close()
  greeted = true
end)

require("mqtt.copas").start()
while not greeted or client:state() ~= "idle" do copas.step() end
print((visitor:receive()))
broker:stop()
print("done")
