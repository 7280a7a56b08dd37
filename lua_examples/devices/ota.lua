-- Updates over MQTT: a new version of a script comes in pieces, is checked, takes the place of the old one, and the
-- device starts again with it.
--
--   <base>/begin   {"name":"app.lua","size":1234,"sum":567}   sum: Adler-32 of the whole
--   <base>/data    a piece, as often as needed
--   <base>/end     nothing
--   <base>/status  what the device says: running, receiving, installed, failed: why
--
-- The script may be any that ends with .lua; app.lua is run at each start, and what it returns is its version.

local BROKER = "broker.local"

local ID = ("ota-%06x"):format(node.chipid())
local BASE = "ota/" .. ID
local APP = "app.lua"
local MODULUS = 65521

local client = mqtt.Client(ID, 30)
local update

local function say(text, callback)
  client:publish(BASE .. "/status", text, 1, 0, callback)
end

local function fail(why)
  if update then
    update.file:close()
    file.remove(update.name .. ".new")
    update = nil
  end
  say("failed: " .. why)
end

local HANDLERS = {}

HANDLERS["begin"] = function(data)
  local ok, header = pcall(sjson.decode, data or "")
  if not ok then return fail("no JSON") end
  -- a name without slashes: nothing but the device's own scripts
  if type(header.name) ~= "string" or not header.name:match("^[%w_-]+%.lua$") then return fail("no such name") end
  local out = file.open(header.name .. ".new", "w")
  if not out then return fail("no room") end
  update = { name = header.name, size = header.size, sum = header.sum, file = out, received = 0, low = 1, high = 0 }
  say("receiving")
end

HANDLERS["data"] = function(data)
  if not update or not data then return end
  if not update.file:write(data) then return fail("no room") end
  update.received = update.received + #data
  local low, high = update.low, update.high
  for n = 1, #data do
    low = (low + data:byte(n)) % MODULUS
    high = (high + low) % MODULUS
  end
  update.low, update.high = low, high
end

HANDLERS["end"] = function()
  if not update then return end
  if update.received ~= update.size then return fail("size") end
  if update.high * 65536 + update.low ~= update.sum then return fail("checksum") end
  update.file:close()
  file.remove(update.name)
  file.rename(update.name .. ".new", update.name)
  update = nil
  say("installed", function() node.restart() end)
end

local version = "nothing"
if file.exists(APP) then
  local ok, result = pcall(dofile, APP)
  version = ok and tostring(result) or "broken"
end

client:on("message", function(_, topic, data)
  local handler = HANDLERS[topic:match("[^/]+$")]
  if handler then handler(data) end
end)

client:connect(BROKER, 1883, 0, function()
  client:subscribe({ [BASE .. "/begin"] = 1, [BASE .. "/data"] = 1, [BASE .. "/end"] = 1 }, function()
    say("running " .. version)
  end)
end, function(_, reason)
  print("no connection: " .. reason)
end)
