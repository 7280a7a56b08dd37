---@meta mqtt
-- What require("mqtt") gives, for LuaLS (lua-language-server). tests/spec/types_spec.lua compares it with the module.

---@class nodemcu.mqtt
---@field _VERSION string the release
---@field pollable nodemcu.mqtt.pollable the same as fileno(), for loops that know objects by their methods
---@field CONN_FAIL_TLS integer -6: TLS or WebSocket could not be agreed upon
---@field CONN_FAIL_SERVER_NOT_FOUND integer -5: refused, unreachable, or TCP timed out
---@field CONN_FAIL_NOT_A_CONNACK_MSG integer -4: the answer was not a CONNACK
---@field CONN_FAIL_DNS integer -3: the name does not resolve
---@field CONN_FAIL_TIMEOUT_RECEIVING integer -2: no CONNACK in time
---@field CONN_FAIL_TIMEOUT_SENDING integer -1: CONNECT could not be sent
---@field CONNACK_ACCEPTED integer 0
---@field CONNACK_REFUSED_PROTOCOL_VER integer 1
---@field CONNACK_REFUSED_ID_REJECTED integer 2
---@field CONNACK_REFUSED_SERVER_UNAVAILABLE integer 3
---@field CONNACK_REFUSED_BAD_USER_OR_PASS integer 4
---@field CONNACK_REFUSED_NOT_AUTHORIZED integer 5
local mqtt = {}

---@alias nodemcu.mqtt.qos 0|1|2
---@alias nodemcu.mqtt.flag 0|1|boolean
---@alias nodemcu.mqtt.event "connect"|"connfail"|"message"|"overflow"|"offline"|"puback"|"suback"|"unsuback"
---@alias nodemcu.mqtt.secret string|fun(): string? asked for before each dial if it is a function

---@class nodemcu.mqtt.options
---@field clientid string?
---@field keepalive integer? seconds; 0: off
---@field username nodemcu.mqtt.secret?
---@field password nodemcu.mqtt.secret?
---@field cleansession nodemcu.mqtt.flag?
---@field max_message_length integer? bytes of a whole packet; larger messages go to `overflow`
---@field protocol ("3.1.1"|"3.1")?
---@field callbacks ("last"|"each")? "each": every call keeps its own callback
---@field max_queue integer? bytes accepted and not done
---@field inflight integer? QoS 1 and 2 messages under way at once
---@field resubscribe boolean? renews subscriptions on a reconnect whose session the broker did not keep
---@field connect_timeout number? seconds for a whole attempt

---A client; the first argument may be a table with everything by name.
---@param clientid (string|nodemcu.mqtt.options)?
---@param keepalive integer? seconds, default 60
---@param username nodemcu.mqtt.secret?
---@param password nodemcu.mqtt.secret?
---@param cleansession nodemcu.mqtt.flag? default 1
---@param max_message_length integer?
---@return nodemcu.mqtt.client
function mqtt.Client(clientid, keepalive, username, password, cleansession, max_message_length) end

---Runs callbacks until no client is connecting, connected or reconnecting, no timer is armed and nothing is pending.
---@param timeout number? seconds
---@return boolean done false on timeout
function mqtt.run(timeout) end

---Runs the callbacks of what is pending.
---@param timeout number? seconds to wait for something, default 0
---@return integer callbacks how many were run
function mqtt.poll(timeout) end

---Runs callbacks until the predicate is true.
---@generic T
---@param predicate fun(): T?
---@param timeout number? seconds
---@return T? value nil on timeout
---@return string? why "timeout"
function mqtt.wait(predicate, timeout) end

---Ends the running `run`, or the next one.
function mqtt.stop() end

---A descriptor that is readable while something is pending, timers included.
---@return integer
function mqtt.fileno() end

---@class nodemcu.mqtt.stats
---@field packets_in integer
---@field packets_out integer
---@field bytes_in integer
---@field bytes_out integer
---@field messages_in table<nodemcu.mqtt.qos, integer>
---@field messages_out table<nodemcu.mqtt.qos, integer>
---@field dropped integer
---@field reconnects integer
---@field queued integer messages accepted and not done
---@field queued_bytes integer
---@field callbacks integer

---Counters of all clients.
---@return nodemcu.mqtt.stats
function mqtt.stats() end

---The module's own log; nil ends it.
---@param callback fun(level: "error"|"warn"|"info", text: string)?
function mqtt.log(callback) end

---A line per packet, without payloads and passwords; nil ends it.
---@param callback fun(line: string)?
function mqtt.trace(callback) end

---MQTT's matching.
---@param filter string
---@param topic string
---@return boolean
function mqtt.matches(filter, topic) end

---@class nodemcu.mqtt.pollable
---@field pollfd fun(self): integer
---@field getfd fun(self): integer
---@field events fun(self): string
---@field timeout fun(self): nil
---@field dirty fun(self): boolean

---@class nodemcu.mqtt.client
local client = {}

---The will of the next CONNECT.
---@param topic string
---@param message string|number
---@param qos nodemcu.mqtt.qos? default 0
---@param retain nodemcu.mqtt.flag? default 0
function client:lwt(topic, message, qos, retain) end

---Sets the callback of an event, or removes it.
---@param event nodemcu.mqtt.event
---@param callback (fun(client: nodemcu.mqtt.client, ...))?
---@overload fun(self, event: "connect", callback: fun(client: nodemcu.mqtt.client, session_present: boolean)?)
---@overload fun(self, event: "connfail", callback: fun(client: nodemcu.mqtt.client, reason: integer, detail: string)?)
---@overload fun(self, event: "message", callback: fun(client: nodemcu.mqtt.client, topic: string, data: string?, qos: nodemcu.mqtt.qos, retain: boolean, dup: boolean)?)
---@overload fun(self, event: "overflow", callback: fun(client: nodemcu.mqtt.client, topic: string, data: string?)?)
---@overload fun(self, event: "offline", callback: fun(client: nodemcu.mqtt.client)?)
---@overload fun(self, event: "puback", callback: fun(client: nodemcu.mqtt.client, packet_id: integer?)?)
---@overload fun(self, event: "suback", callback: fun(client: nodemcu.mqtt.client, granted: table<string, nodemcu.mqtt.qos|false>)?)
---@overload fun(self, event: "unsuback", callback: fun(client: nodemcu.mqtt.client)?)
function client:on(event, callback) end

---@class nodemcu.mqtt.security
---@field ca_cert string? PEM data or a file's path, as the next two
---@field client_cert string?
---@field client_key string?
---@field server_name string?
---@field alpn string[]?
---@field psk_identity string?
---@field psk_key string? hexadecimal
---@field cipher_suites (string|string[])?
---@field headers table<string, string>? of a WebSocket's request
---@field verify boolean? false: whoever answers is taken for the server

---Connects to a host, or to a URI of mqtt, mqtts, ws or wss. Callbacks may stand earlier: they are known by their type.
---@param host string
---@param port (number|string|function)? 1..65535
---@param secure (nodemcu.mqtt.flag|nodemcu.mqtt.security|function)?
---@param autoreconnect (nodemcu.mqtt.flag|{ min: number?, max: number? }|function)?
---@param ok (fun(client: nodemcu.mqtt.client, session_present: boolean))?
---@param nok (fun(client: nodemcu.mqtt.client, reason: integer, detail: string))?
---@return true
function client:connect(host, port, secure, autoreconnect, ok, nok) end

---@param topic string
---@param payload string|number
---@param qos (nodemcu.mqtt.qos|function)? default 0
---@param retain (nodemcu.mqtt.flag|function)? default 0
---@param callback (fun(client: nodemcu.mqtt.client, packet_id: integer?))?
---@return boolean accepted
---@return string? why "not connected" or "queue full"
function client:publish(topic, payload, qos, retain, callback) end

---@param filter string|table<string, nodemcu.mqtt.qos> one, or up to 65,535 in a table
---@param qos (nodemcu.mqtt.qos|function)? default 0
---@param callback (fun(client: nodemcu.mqtt.client, granted: table<string, nodemcu.mqtt.qos|false>))?
---@return boolean accepted
---@return string? why "not connected"
function client:subscribe(filter, qos, callback) end

---@param filter string|table<string, any> one, or up to 65,535 in a table
---@param callback (fun(client: nodemcu.mqtt.client))?
---@return boolean accepted
---@return string? why "not connected"
function client:unsubscribe(filter, callback) end

---@return integer messages accepted and not done
---@return integer bytes
function client:pending() end

---@return "idle"|"connecting"|"connected"|"reconnecting"
function client:state() end

---Sends what is unsent, then DISCONNECT; `offline` follows.
function client:close() end

return mqtt
