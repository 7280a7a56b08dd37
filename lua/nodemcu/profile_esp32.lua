-- How the ESP32's mqtt module takes its arguments and calls back. See `profile`.

local profile = require("nodemcu.profile")

local CHIP = "esp32"
local KEEPALIVE = 120
-- Bytes.
local LONGEST = { clientid = 32, username = 32, password = 65, ["will topic"] = 32, ["will message"] = 128 }
-- The one reason that there is.
local FAILED = -6
-- What the chip reads at once: of a longer message the first piece comes with the topic, the others with an empty one.
local BUFFER = 1024

local chip = {}

---Whether the module has a constant, or a function that the real one has.
function chip.has(key)
  return not key:match("^CONN")
end

local function cut(what, value)
  return profile.cut(value, LONGEST[what], what, CHIP)
end

---The real client's settings.
---@param args nodemcu.profile.arguments
function chip.new(_, args)
  local settings = { clientid = cut("clientid", args:string(1)), keepalive = args:integer(2) }
  if settings.keepalive == 0 then settings.keepalive = KEEPALIVE end
  if args:is_string(3) then settings.username = profile.credential(cut("username", args[3])) end
  if args:is_string(4) then settings.password = profile.credential(cut("password", args[4])) end
  settings.cleansession = not args:is_number(5) or tonumber(args[5]) ~= 0
  return settings
end

-- The bytes of a PUBLISH before its payload.
local function overhead(topic, length, qos)
  local rest = 2 + #topic + (qos > 0 and 2 or 0) + length
  return rest - length + (rest < 128 and 2 or rest < 16384 and 3 or rest < 2097152 and 4 or 5)
end

local function in_pieces(client, topic, data, qos)
  local callback = client._slots.message
  if not callback then return end
  local first = data and math.max(1, BUFFER - overhead(topic, #data, qos))
  if not data or #data <= first then
    if data then callback(client, topic, data) else callback(client, topic) end
    return
  end
  callback(client, topic, data:sub(1, first))
  for start = first + 1, #data, BUFFER do
    callback(client, "", data:sub(start, start + BUFFER - 1))
  end
end

-- Runs the callback of a slot, which is emptied: it is for once.
local function once(client, slot, ...)
  local callback = client._slots[slot]
  client._slots[slot] = nil
  if callback then callback(client, ...) end
end

local function every(client, slot)
  local callback = client._slots[slot]
  if callback then callback(client) end
end

---Listens to the real client.
function chip.listen(client)
  local native, slots = client._native, client._slots
  native:on("connect", function()
    once(client, "ok")
    slots.nok = nil
    every(client, "connect")
  end)
  native:on("connfail", function()
    slots.ok = nil
    once(client, "nok", FAILED)
  end)
  native:on("offline", function() every(client, "offline") end)
  native:on("message", function(_, topic, data, qos) in_pieces(client, topic, data, qos) end)
  -- the chip's library says nothing of QoS 0
  native:on("puback", function(_, id)
    if id then once(client, "puback") end
  end)
  native:on("suback", function() once(client, "suback") end)
  native:on("unsuback", function() once(client, "unsuback") end)
end

local methods = {}
chip.methods = methods

local EVENTS = { connect = true, message = true, offline = true }

function methods.on(client, ...)
  local args = profile.arguments("on", ...)
  if not args:is_function(2) then return end
  local event = args[1] == nil and "message" or args:string(1)
  if not EVENTS[event] then args:reject(1, ("invalid option '%s'"):format(event)) end
  client._slots[event] = args[2]
end

-- qos and retain are taken and never sent.
function methods.lwt(client, ...)
  local args = profile.arguments("lwt", ...)
  client._native:lwt(cut("will topic", args:string(1)), cut("will message", args:string(2)), 0, 0)
end

-- connect(host[, port[, secure[, autoreconnect]]][, ok[, nok]]): the first that is not what it should be ends the
-- reading.
function methods.connect(client, ...)
  local args = profile.arguments("connect", ...)
  local host = args:string(1)
  if tostring(host):find("://", 1, true) then args:reject(1, "host expected, the esp32 knows no URIs") end
  local n = 2
  local port, secure, autoreconnect = 1883, false, false
  if args:is_number(n) then port, n = tonumber(args[n]), n + 1 end
  if args:is_number(n) then
    secure, n = tonumber(args[n]) ~= 0, n + 1
  elseif args:type(n) == "table" then
    secure, n = args[n], n + 1
  end
  if args:is_number(n) then autoreconnect, n = tonumber(args[n]) ~= 0, n + 1 end
  local ok, nok
  if args:is_function(n) then ok, n = args[n], n + 1 end
  if args:is_function(n) then nok, n = args[n], n + 1 end
  local lost = args:last_function(n)
  if lost then
    profile.warn(("the %s stops reading the arguments of connect at #%d (%s): it ignores the function at #%d"):format(
      CHIP, n, args:type(n), lost))
  end
  local slots = client._slots
  if ok then slots.ok = ok end
  if nok then slots.nok = nok end
  client._native:connect(host, port, secure, autoreconnect)
  return true
end

local function is_connected(client)
  return client._native:state() == "connected"
end

function methods.publish(client, ...)
  if not is_connected(client) then return false end
  local args = profile.arguments("publish", ...)
  local topic, payload, qos, retain = args:string(1), args:string(2), args:integer(3), args:integer(4)
  if args:is_function(5) then
    client._slots.puback = args[5]
    if qos == 0 then
      profile.warn(("the %s never calls back for QoS 0: the function waits for the next PUBACK"):format(CHIP))
    end
  end
  return (client._native:publish(topic, payload, qos, retain))
end

function methods.subscribe(client, ...)
  if not is_connected(client) then return false end
  local args = profile.arguments("subscribe", ...)
  local filter, qos = args:string(1), args:integer(2)
  if args:is_function(3) then client._slots.suback = args[3] end
  return (client._native:subscribe(filter, qos))
end

function methods.unsubscribe(client, ...)
  if not is_connected(client) then return false end
  local args = profile.arguments("unsubscribe", ...)
  local filter = args:string(1)
  if args:is_function(2) then client._slots.unsuback = args[2] end
  return (client._native:unsubscribe(filter))
end

function methods.close(client)
  client._native:close()
end

return chip
