-- A shell over topics: what is published to <base>/in is typed into the device's Lua, what that prints comes out of
-- <base>/out. Whoever may publish there owns the device: give the broker users and rules.

local BROKER = "broker.local"

local ID = ("shell-%06x"):format(node.chipid())
local BASE = "shells/" .. ID

local client = mqtt.Client(ID, 30)

client:on("message", function(_, _, data)
  if data then node.input(data) end
end)

client:on("offline", function()
  node.output(nil)
end)

client:connect(BROKER, 1883, 0, function()
  node.output(function(text) client:publish(BASE .. "/out", text, 1, 0) end, 0)
  client:subscribe(BASE .. "/in", 1, function() print("this is " .. ID) end)
end, function(_, reason)
  print("no connection: " .. reason)
end)
