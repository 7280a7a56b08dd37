-- How the ESP8266's mqtt module takes its arguments and calls back. See `profile`.

local device = require("nodemcu.device")
local profile = require("nodemcu.profile")

local CHIP = "esp8266"
-- Bytes of client id, user name and password.
local LONGEST = 64
local KEEPALIVE = 60
local MAX_MESSAGE = 1024
-- The chip has no reason of its own for TLS.
local FAIL_TLS, FAIL_SERVER_NOT_FOUND = -6, -5

local chip = {}

---Whether the module has a constant, or a function that the real one has.
function chip.has(key)
  return key ~= "CONN_FAIL_TLS"
end

---The real client's settings. Every argument is optional, and what is left out does not keep its place: a user name of
---nil moves all that follows.
---@param args nodemcu.profile.arguments
function chip.new(_, args)
  if args:type(1) == "table" then args:reject(1, "the esp8266 has no arguments by name") end
  local settings, n = {}, 1
  local function next_if(is)
    if not is then return nil end
    n = n + 1
    return args[n - 1]
  end
  settings.clientid = next_if(args:is_string(n))
  settings.keepalive = tonumber(next_if(args:is_number(n)))
  settings.username = next_if(args:is_string(n))
  settings.password = next_if(args:is_string(n))
  settings.cleansession = tonumber(next_if(args:is_number(n)))
  settings.max_message_length = tonumber(next_if(args:is_number(n)))
  if n <= args.count and args:type(n) == "nil" and n < 6 then
    profile.warn(("the %s ignores all arguments of mqtt.Client behind the nil at #%d"):format(CHIP, n))
  end
  for _, key in ipairs { "clientid", "username", "password" } do
    if settings[key] then settings[key] = profile.cut(settings[key], LONGEST, key, CHIP) end
  end
  settings.username, settings.password = profile.credential(settings.username), profile.credential(settings.password)
  if settings.keepalive == nil or settings.keepalive == 0 then settings.keepalive = KEEPALIVE end
  settings.cleansession = math.min(settings.cleansession or 0, 1)
  if (settings.max_message_length or 0) == 0 then settings.max_message_length = MAX_MESSAGE end
  return settings
end

-- What the chip passes behind the client, by event.
local ARGUMENTS = {
  connect = 0, connfail = 1, message = 2, overflow = 2, offline = 0, puback = 0, suback = 0, unsuback = 0,
}

-- A function for the real client that calls the script's.
local function forward(client, event, callback)
  local count = ARGUMENTS[event]
  return function(_, first, second)
    if event == "connfail" and first == FAIL_TLS then first = FAIL_SERVER_NOT_FOUND end
    if count == 0 then
      callback(client)
    elseif count == 1 then
      callback(client, first)
    else
      callback(client, first, second)
    end
  end
end

function chip.listen() end

local function set(client, event, callback)
  client._native:on(event, forward(client, event, callback))
end

local function is_connected(client)
  return client._native:state() == "connected"
end

local methods = {}
chip.methods = methods

function methods.on(client, ...)
  local args = profile.arguments("on", ...)
  local event = args:string(1)
  args:callback(2)
  if not ARGUMENTS[event] then device.raise("method not supported") end
  set(client, event, args[2])
end

function methods.lwt(client, ...)
  local args = profile.arguments("lwt", ...)
  args:string(1)
  args:string(2)
  local n, numbers = 3, {}
  while #numbers < 2 and args:is_number(n) do
    numbers[#numbers + 1], n = tonumber(args[n]), n + 1
  end
  client._native:lwt(args[1], args[2], numbers[1] or 0, numbers[2] or 0)
end

-- connect([host][, port][, secure], ok, nok): after secure, the next place is that of ok whatever stands there.
function methods.connect(client, ...)
  if is_connected(client) then device.raise("already connected") end
  local args = profile.arguments("connect", ...)
  local n = 1
  local host, port, secure = "127.0.0.1", 1883, false
  if args:is_string(n) then host, n = args[n], n + 1 end
  if type(host) == "string" and host:find("://", 1, true) then
    args:reject(1, "host expected, the esp8266 knows no URIs")
  end
  if args:is_number(n) then port, n = args[n], n + 1 end
  if args:is_number(n) then
    secure, n = tonumber(args[n]) ~= 0, n + 1
  elseif args:type(n) == "boolean" then
    secure, n = args[n], n + 1
  elseif args:type(n) == "table" then
    -- the chip would connect in clear
    args:reject(n, "flag expected, the esp8266 takes no table")
  end
  if args:is_function(n) then
    set(client, "connect", args[n])
  elseif args:is_function(n + 1) and args:type(n) ~= "nil" then
    profile.warn(("the %s takes #%d of connect for the place of the connect callback: the function behind it runs "
      .. "when the connection FAILS, nothing runs when it is there"):format(CHIP, n))
  end
  n = n + 1
  if args:is_function(n) then set(client, "connfail", args[n]) end
  local lost = args:last_function(n + 1)
  if lost then profile.warn(("the %s ignores the function at #%d of connect"):format(CHIP, lost)) end
  client._native:connect(host, port, secure)
end

function methods.publish(client, ...)
  if not is_connected(client) then device.raise("not connected") end
  local args = profile.arguments("publish", ...)
  local topic, payload, qos, retain = args:string(1), args:string(2), args:integer(3), args:integer(4)
  local callback = args:is_function(5) and forward(client, "puback", args[5]) or nil
  return (client._native:publish(topic, payload, qos, retain, callback))
end

function methods.subscribe(client, ...)
  if not is_connected(client) then device.raise("not connected") end
  local args = profile.arguments("subscribe", ...)
  local n, qos = 3, nil
  if args:type(1) == "table" then
    n = 2
    if next(args[1]) == nil then device.raise("no topics found") end
  else
    args:string(1)
    qos = args:integer(2)
  end
  local callback = args:is_function(n) and forward(client, "suback", args[n]) or nil
  local lost = args:last_function(n + 1)
  if lost then profile.warn(("the %s ignores the function at #%d of subscribe"):format(CHIP, lost)) end
  if n == 2 then return (client._native:subscribe(args[1], callback)) end
  return (client._native:subscribe(args[1], qos, callback))
end

function methods.unsubscribe(client, ...)
  if not is_connected(client) then device.raise("not connected") end
  local args = profile.arguments("unsubscribe", ...)
  if args:type(1) == "table" then
    if next(args[1]) == nil then device.raise("no topics found") end
  else
    args:string(1)
  end
  local callback = args:is_function(2) and forward(client, "unsuback", args[2]) or nil
  local lost = args:last_function(3)
  if lost then profile.warn(("the %s ignores the function at #%d of unsubscribe"):format(CHIP, lost)) end
  return (client._native:unsubscribe(args[1], callback))
end

-- An attempt to connect goes on.
function methods.close(client)
  if not is_connected(client) then return false end
  client._native:close()
  return true
end

return chip
