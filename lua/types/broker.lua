---@meta mqtt.broker
-- What require("mqtt.broker") gives: the embedded broker, for tests and demos.

---@alias nodemcu.mqtt.broker.sent "connack"|"publish"|"puback"|"pubrec"|"pubrel"|"pubcomp"|"suback"|"unsuback"|"pingresp"

---@class nodemcu.mqtt.broker.faults
---@field connack integer? CONNECT is answered with this code, 1 to 5
---@field ignore_connect boolean? CONNECT is not answered
---@field answer_connect string? CONNECT is answered with these bytes
---@field session_present boolean? the flag in CONNACK
---@field cut_after_bytes_received integer? the connection ends there
---@field cut_after_bytes_sent integer?
---@field cut_after_packets_received integer?
---@field cut_after_packets_sent integer?
---@field delay number? seconds that everything sent is held back
---@field swallow nodemcu.mqtt.broker.sent[]? packets that are never sent
---@field duplicate nodemcu.mqtt.broker.sent[]? packets that are sent twice
---@field byte_by_byte boolean?
---@field deaf boolean? nothing is read any more
---@field refuse_filters string[]? SUBSCRIBEs to these are refused
---@field max_qos nodemcu.mqtt.qos? the highest that is granted

---@class nodemcu.mqtt.broker.options
---@field port integer? 0, the default: a free one
---@field users table<string, string>? passwords by user name
---@field retained table<string, string|number>? retained messages that are there from the beginning
---@field max_in_flight integer?
---@field max_queue integer?
---@field max_output integer?
---@field max_received integer?
---@field faults nodemcu.mqtt.broker.faults?

---@class nodemcu.mqtt.broker.message
---@field client string
---@field topic string
---@field payload string
---@field qos nodemcu.mqtt.qos
---@field id integer?
---@field retain boolean
---@field dup boolean
---@field repeated boolean a QoS 2 message that had arrived before and was not passed on again

---@class nodemcu.mqtt.broker.wanted
---@field client string?
---@field topic string? a filter
---@field payload string?
---@field qos nodemcu.mqtt.qos?
---@field retain boolean?
---@field dup boolean?

---@class nodemcu.mqtt.broker.module
local module = {}

---Starts a broker on 127.0.0.1.
---@param options nodemcu.mqtt.broker.options?
---@return nodemcu.mqtt.broker
function module.start(options) end

---@class nodemcu.mqtt.broker
---@field port integer
local broker = {}

---Drops all connections and stops listening; `restart` finds sessions and retained messages as they were.
function broker:stop() end

function broker:restart() end

---Publishes a message of the broker's own.
---@param topic string
---@param payload string|number
---@param qos nodemcu.mqtt.qos? default 0
---@param retain nodemcu.mqtt.flag? default 0
function broker:publish(topic, payload, qos, retain) end

---The messages that clients sent, oldest first; with `wanted` those that fit all of it.
---@param wanted nodemcu.mqtt.broker.wanted?
---@return nodemcu.mqtt.broker.message[]
function broker:received(wanted) end

function broker:clear_received() end

---The retained messages: topic to payload.
---@return table<string, string>
function broker:retained() end

---The ids of the connected clients.
---@return string[]
function broker:clients() end

---The filters of a client with the QoS granted.
---@param client string
---@return table<string, nodemcu.mqtt.qos>
function broker:subscriptions(client) end

---How many connections were accepted.
---@return integer
function broker:accepted() end

---How many messages were lost because their receivers were too slow.
---@return integer
function broker:dropped() end

---Drops the connection of a client as if the network had failed.
---@param client string
---@return boolean was_connected
function broker:kill(client) end

---Sends a client these bytes, between two packets.
---@param client string
---@param bytes string
---@return boolean is_connected
function broker:send_raw(client, bytes) end

---How all connections misbehave from now on, but those with faults of their own.
---@param faults nodemcu.mqtt.broker.faults
function broker:faults(faults) end

---How the next connection misbehaves.
---@param faults nodemcu.mqtt.broker.faults
function broker:next_faults(faults) end

---How a client's connections misbehave.
---@param client string
---@param faults nodemcu.mqtt.broker.faults
function broker:client_faults(client, faults) end

function broker:clear_faults() end

return module
