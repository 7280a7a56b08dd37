---@meta mqtt.mgos
-- What require("mgos_mqtt") gives: the C API of Mongoose OS's MQTT library. tests/spec/types_spec.lua compares it with the
-- module.

---@alias nodemcu.mqtt.mgos.event 0|5|202|203|204|209|211 EV_POLL, EV_CLOSE, EV_CONNACK, EV_PUBLISH, EV_PUBACK, EV_SUBACK, EV_UNSUBACK
---@alias nodemcu.mqtt.mgos.handler fun(conn: nodemcu.mqtt.mgos.conn, topic: string, message: string, ud: any)
---@alias nodemcu.mqtt.mgos.event_handler fun(conn: nodemcu.mqtt.mgos.conn, ev: nodemcu.mqtt.mgos.event, data: nodemcu.mqtt.mgos.data, ud: any)
---@alias nodemcu.mqtt.mgos.cloud_handler fun(event: "connecting"|"connected"|"disconnected"|"connect-error")
---@alias nodemcu.mqtt.mgos.connect_fn fun(conn: nodemcu.mqtt.mgos.conn, client_id: string, opts: nodemcu.mqtt.mgos.opts, ud: any)

---@class nodemcu.mqtt.mgos.data what an event tells
---@field code integer? EV_CONNACK: 0, or why the broker refused
---@field session_present boolean? EV_CONNACK
---@field topic string? EV_PUBLISH, EV_SUBACK
---@field message string? EV_PUBLISH
---@field qos nodemcu.mqtt.qos? EV_PUBLISH
---@field retain boolean? EV_PUBLISH
---@field packet_id integer? EV_PUBLISH, EV_PUBACK, EV_SUBACK, EV_UNSUBACK
---@field codes integer[]? EV_SUBACK: 0, 1, 2, or 128 where refused

---@class nodemcu.mqtt.mgos.opts what CONNECT says; what is taken out is not sent
---@field user_name string?
---@field password string?
---@field keep_alive integer?
---@field clean_session boolean?
---@field will_topic string?
---@field will_message string?
---@field will_retain boolean?

---@class nodemcu.mqtt.mgos.section
---@field enable boolean? nothing happens unless true
---@field server string? host or host:port
---@field client_id string?
---@field user string?
---@field pass string?
---@field keep_alive integer? seconds; 0: off
---@field clean_session boolean?
---@field will_topic string?
---@field will_message string?
---@field will_retain boolean?
---@field reconnect_timeout_min number? seconds
---@field reconnect_timeout_max number?
---@field ssl_ca_cert string? names of PEM files
---@field ssl_cert string?
---@field ssl_key string?
---@field ssl_cipher_suites string? separated by colons
---@field ssl_psk_identity string?
---@field ssl_psk_key string? hexadecimal
---@field max_qos nodemcu.mqtt.qos?
---@field max_queue_length integer? messages that may wait without a connection
---@field recv_mbuf_limit integer? bytes of the largest packet received
---@field require_time boolean?
---@field ws_enable boolean?
---@field ws_path string?
---@field cloud_events boolean?
---@field debug_use_log_level boolean?

---@class nodemcu.mqtt.mgos.config
---@field mqtt nodemcu.mqtt.mgos.section?
---@field mqtt1 nodemcu.mqtt.mgos.section? the backup server
---@field device { id: string? }?
---@field debug { stdout_topic: string?, stderr_topic: string? }?

---@class nodemcu.mqtt.mgos
---@field EV_POLL integer 0
---@field EV_CLOSE integer 5
---@field EV_CONNACK integer 202
---@field EV_PUBLISH integer 203
---@field EV_PUBACK integer 204
---@field EV_SUBACK integer 209
---@field EV_UNSUBACK integer 211
local mgos_mqtt = {}

---Puts a configuration in force; one section may stand alone.
---@param config nodemcu.mqtt.mgos.config|nodemcu.mqtt.mgos.section
---@return true
function mgos_mqtt.configure(config) end

---Likewise, from a file with JSON.
---@param path string
---@return true
function mgos_mqtt.configure_file(path) end

---What is in force, without secrets; nil before the first.
---@return nodemcu.mqtt.mgos.config?
function mgos_mqtt.config() end

---One more connection, with these functions as methods.
---@param id integer that no other one has
---@param section nodemcu.mqtt.mgos.section
---@param section1 nodemcu.mqtt.mgos.section?
---@return nodemcu.mqtt.mgos.conn
function mgos_mqtt.conn_create(id, section, section1) end

---Connects now, where an attempt waits for its time.
---@return boolean enabled
function mgos_mqtt.global_connect() end

---Sends DISCONNECT, and stops until global_connect.
function mgos_mqtt.global_disconnect() end

---@return boolean
function mgos_mqtt.global_is_connected() end

---@return nodemcu.mqtt.mgos.conn? conn nil without a connection
function mgos_mqtt.get_global_conn() end

---@param topic string
---@param message string|number
---@param qos nodemcu.mqtt.qos? default 0
---@param retain nodemcu.mqtt.flag? default 0
---@return integer packet_id 0 where it can neither be sent nor kept
function mgos_mqtt.pub(topic, message, qos, retain) end

---Publishes JSON made from a format.
---@param topic string
---@param qos nodemcu.mqtt.qos?
---@param retain nodemcu.mqtt.flag?
---@param format string
---@param ... any
---@return integer packet_id
function mgos_mqtt.pubf(topic, qos, retain, format, ...) end

---@param topic string
---@param qos nodemcu.mqtt.qos?
---@param retain nodemcu.mqtt.flag?
---@param format string
---@param values any[]
---@return integer packet_id
function mgos_mqtt.pubv(topic, qos, retain, format, values) end

---@param topic string a filter
---@param handler nodemcu.mqtt.mgos.handler
---@param ud any
function mgos_mqtt.sub(topic, handler, ud) end

---@param topic string
---@return boolean were_there
function mgos_mqtt.unsub(topic) end

---A handler that hears of EV_SUBACK and EV_CLOSE too.
---@param topic string
---@param handler nodemcu.mqtt.mgos.event_handler
---@param ud any
function mgos_mqtt.global_subscribe(topic, handler, ud) end

---A handler for everything that no other one takes.
---@param handler nodemcu.mqtt.mgos.event_handler
---@param ud any
function mgos_mqtt.add_global_handler(handler, ud) end

---@param handler nodemcu.mqtt.mgos.cloud_handler
function mgos_mqtt.add_cloud_handler(handler) end

---Who we are, asked whenever CONNECT is due; nil: as configured.
---@param fn nodemcu.mqtt.mgos.connect_fn?
---@param ud any
function mgos_mqtt.set_connect_fn(fn, ud) end

---@param client_id string?
---@param opts nodemcu.mqtt.mgos.opts?
---@return boolean was_due
function mgos_mqtt.send_handshake(client_id, opts) end

---@return integer
function mgos_mqtt.num_unsent_bytes() end

---The next packet id.
---@return integer
function mgos_mqtt.get_packet_id() end

---Lowers every QoS to this.
---@param qos nodemcu.mqtt.qos
function mgos_mqtt.set_max_qos(qos) end

---Another section in place of both, connected to at once.
---@param section nodemcu.mqtt.mgos.section
function mgos_mqtt.set_config(section) end

---A connection: its methods are the functions above.
---@class nodemcu.mqtt.mgos.conn
local conn = {}

---@return nodemcu.mqtt.mgos.config?
function conn:config() end

---@return boolean enabled
function conn:global_connect() end

function conn:global_disconnect() end

---@return boolean
function conn:global_is_connected() end

---@return nodemcu.mqtt.mgos.conn?
function conn:get_global_conn() end

---@param topic string
---@param message string|number
---@param qos nodemcu.mqtt.qos?
---@param retain nodemcu.mqtt.flag?
---@return integer packet_id
function conn:pub(topic, message, qos, retain) end

---@param topic string
---@param qos nodemcu.mqtt.qos?
---@param retain nodemcu.mqtt.flag?
---@param format string
---@param ... any
---@return integer packet_id
function conn:pubf(topic, qos, retain, format, ...) end

---@param topic string
---@param qos nodemcu.mqtt.qos?
---@param retain nodemcu.mqtt.flag?
---@param format string
---@param values any[]
---@return integer packet_id
function conn:pubv(topic, qos, retain, format, values) end

---@param topic string
---@param handler nodemcu.mqtt.mgos.handler
---@param ud any
function conn:sub(topic, handler, ud) end

---@param topic string
---@return boolean were_there
function conn:unsub(topic) end

---@param topic string
---@param handler nodemcu.mqtt.mgos.event_handler
---@param ud any
function conn:global_subscribe(topic, handler, ud) end

---@param handler nodemcu.mqtt.mgos.event_handler
---@param ud any
function conn:add_global_handler(handler, ud) end

---@param handler nodemcu.mqtt.mgos.cloud_handler
function conn:add_cloud_handler(handler) end

---@param fn nodemcu.mqtt.mgos.connect_fn?
---@param ud any
function conn:set_connect_fn(fn, ud) end

---@param client_id string?
---@param opts nodemcu.mqtt.mgos.opts?
---@return boolean was_due
function conn:send_handshake(client_id, opts) end

---@return integer
function conn:num_unsent_bytes() end

---@return integer
function conn:get_packet_id() end

---@param qos nodemcu.mqtt.qos
function conn:set_max_qos(qos) end

---@param section nodemcu.mqtt.mgos.section
function conn:set_config(section) end

return mgos_mqtt
