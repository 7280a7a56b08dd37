-- What the specs share beside the test kit: clients that are closed after each test, a scripted peer that speaks in
-- bytes, and scripts run by an interpreter of their own.

local mqtt = require("mqtt")
local kit = require("mqtt.test")
local luassert = require("luassert")
local socket = require("socket")

local support = {}

-- ---- Clients and brokers, ended after each test by support.finish ----

local clients, brokers, peers = {}, {}, {}

-- mqtt.Client, closed after the test. Without arguments: an id of its own.
function support.client(...)
  local client = mqtt.Client(...)
  clients[#clients + 1] = client
  return client
end

local number = 0

-- A name that no other client or topic has, in this process or another that uses the same broker.
function support.unique(prefix)
  number = number + 1
  return ("%s-%s-%d"):format(prefix, tostring({}):match("%w+$"), number)
end

-- An embedded broker, with faults on request.
function support.broker(options)
  local broker = kit.broker(options)
  brokers[#brokers + 1] = broker
  return broker
end

-- The broker that the interop specs talk to, as the first three arguments of connect: MQTT_TEST_BROKER (host:port or
-- a URI), or an embedded one. MQTT_TEST_CA, MQTT_TEST_CERT, MQTT_TEST_KEY and MQTT_TEST_PSK (identity:key) go with it.
function support.target()
  local address = os.getenv("MQTT_TEST_BROKER")
  if not address then return "127.0.0.1", support.broker().port end
  local identity, key = (os.getenv("MQTT_TEST_PSK") or ""):match("^(.*):(%x+)$")
  local secure = {
    ca_cert = os.getenv("MQTT_TEST_CA"),
    client_cert = os.getenv("MQTT_TEST_CERT"),
    client_key = os.getenv("MQTT_TEST_KEY"),
    psk_identity = identity,
    psk_key = key,
  }
  if address:find("://", 1, true) then return address, nil, secure end
  local host, port = address:match("^(.*):(%d+)$")
  return host, tonumber(port)
end

-- A client that is connected to the port. `options`: mqtt.Client's, by name; autoreconnect: connect's.
function support.connected(port, options, autoreconnect)
  options = options or {}
  options.clientid = options.clientid or support.unique("spec")
  local client = support.client(options)
  local up, why = false, nil
  client:connect("127.0.0.1", port, 0, autoreconnect or 0,
    function() up = true end,
    function(_, reason, detail) why = reason .. " " .. detail end)
  kit.eventually(function() return up or why end)
  assert(up, why)
  return client
end

-- Subscribes and waits for the SUBACK, leaving no callback behind.
function support.subscribed(client, filter, qos)
  local done = false
  assert(client:subscribe(filter, qos or 0, function() done = true end))
  kit.eventually(function() return done end)
  client:on("suback", nil)
  return client
end

-- Ends everything that a test started, and forgets what it installed.
function support.finish()
  mqtt.log(nil)
  mqtt.trace(nil)
  for _, client in ipairs(clients) do
    for _, event in ipairs(support.EVENTS) do client:on(event, nil) end
    client:close()
  end
  for _, peer in ipairs(peers) do peer:close() end
  mqtt.run(1) -- until all have said goodbye; a timer that a test has left keeps it longer
  for _, broker in ipairs(brokers) do broker:stop() end
  clients, brokers, peers = {}, {}, {}
end

support.EVENTS = { "connect", "connfail", "message", "overflow", "offline", "puback", "suback", "unsuback" }

-- A list that grows by { event, arguments after the client... } for each of the named events (default: all).
function support.record(client, events)
  local log = {}
  for _, event in ipairs(events or support.EVENTS) do
    client:on(event, function(_, ...) log[#log + 1] = { event, ... } end)
  end
  return log
end

-- Waits until the list has n entries.
function support.entries(list, n)
  kit.eventually(function() return #list >= n end)
  return list
end

-- Runs it again until it takes less than so many seconds: waiting that is built in makes every run slow, a busy machine
-- only some. What the last run returned.
function support.can_take_less_than(limit, run)
  local took, result
  for _ = 1, 10 do
    local began = socket.gettime()
    result = run()
    took = socket.gettime() - began
    if took < limit then return result end
  end
  error(("it takes %.3f s again and again"):format(took), 2)
end

-- ---- A peer that speaks in bytes ----

-- A string with its length in front, as in packets.
function support.text(s)
  return string.char(math.floor(#s / 256), #s % 256) .. s
end

-- A packet: its first byte, Remaining Length, the rest.
function support.packet(first, body)
  local length, bytes = #body, {}
  repeat
    local digit = length % 128
    length = math.floor(length / 128)
    bytes[#bytes + 1] = string.char(length > 0 and digit + 128 or digit)
  until length == 0
  return string.char(first) .. table.concat(bytes) .. body
end

-- Bytes as hexadecimal digits, for messages that people can read.
function support.hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02X "):format(c:byte()) end):gsub(" $", ""))
end

support.CONNACK = "\32\2\0\0"
support.DISCONNECT = "\224\0"

local Peer = {}
Peer.__index = Peer

-- A server on a free port that does nothing by itself. The client's network runs beside Lua, so the spec can wait
-- for its bytes here.
function support.peer()
  local server = assert(socket.bind("127.0.0.1", 0))
  server:settimeout(5)
  local peer = setmetatable({ server = server, port = select(2, server:getsockname()) }, Peer)
  peer.port = tonumber(peer.port)
  peers[#peers + 1] = peer
  return peer
end

-- Takes the next connection.
function Peer:accept()
  if self.link then self.link:close() end
  self.link = assert(self.server:accept())
  self.link:settimeout(5)
  self.link:setoption("tcp-nodelay", true)
  return self
end

-- The next whole packet; nil and the reason when the connection ended.
function Peer:read()
  local head, why = self.link:receive(1)
  if not head then return nil, why end
  local length, scale = 0, 1
  repeat
    local digit = assert(self.link:receive(1))
    head = head .. digit
    length = length + digit:byte() % 128 * scale
    scale = scale * 128
  until digit:byte() < 128
  return head .. (length > 0 and assert(self.link:receive(length)) or "")
end

function Peer:send(bytes)
  assert(self.link:send(bytes))
  return self
end

-- Takes the next connection and its CONNECT, and accepts it; the CONNECT packet.
function Peer:welcome(connack)
  self:accept()
  local connect = assert(self:read())
  self:send(connack or support.CONNACK)
  return connect
end

-- Whether the other side has closed, which is answered likewise. What it sent before is not expected.
function Peer:ended()
  local byte, why = self.link:receive(1)
  self:drop()
  return byte == nil and why == "closed"
end

-- DISCONNECT is all that still comes, and the end.
function Peer:expect_only_goodbye()
  luassert.are.equal(support.hex(support.DISCONNECT), support.hex(self:read() or ""))
  luassert.is_true(self:ended())
end

-- Whether nothing comes once the client has nothing to do.
function Peer:quiet()
  kit.settle()
  self.link:settimeout(0)
  local byte, why = self.link:receive(1)
  self.link:settimeout(5)
  return byte == nil and why == "timeout"
end

-- Closes the connection, not the port.
function Peer:drop()
  self.link:close()
  self.link = nil
end

function Peer:close()
  if self.link then self.link:close() end
  self.server:close()
end

-- A client that is connected to a new peer, the peer, and the CONNECT it sent.
function support.pair(options, autoreconnect, connack)
  local peer = support.peer()
  options = options or {}
  options.clientid = options.clientid or "spec"
  local client = support.client(options)
  local up = false
  client:connect("127.0.0.1", peer.port, 0, autoreconnect or 0, function() up = true end)
  local connect = peer:welcome(connack)
  kit.eventually(function() return up end)
  return client, peer, connect
end

-- A port on which nothing listens.
function support.closed_port()
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  server:close()
  return tonumber(port)
end

-- ---- Scripts in an interpreter of their own ----

-- Name of the interpreter that runs this.
function support.interpreter()
  return rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match("%d%.%d")
end

local Script = {}
Script.__index = Script

-- Starts the source with the arguments, beside this process.
function support.start(source, ...)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  local words = { "timeout 20", support.interpreter(), path }
  for _, argument in ipairs { ... } do words[#words + 1] = ("'%s'"):format(argument) end
  local command = table.concat(words, " ") .. " 2>&1 </dev/null; echo \"status $?\""
  return setmetatable({ path = path, pipe = assert(io.popen(command)) }, Script)
end

-- Waits for the end of a script; its exit status, and its output with the errors.
function Script:finish()
  local output = self.pipe:read("*a")
  self.pipe:close()
  os.remove(self.path)
  local text, status = output:match("^(.*)status (%d+)\n$")
  return tonumber(status), text
end

-- Starts and finishes.
function support.script(source, ...)
  return support.start(source, ...):finish()
end

return support
