---@meta mqtt.mgos.api
-- What require("api_mqtt") gives: the JS API of Mongoose OS's MQTT library, on the connection of mgos_mqtt.

---@class nodemcu.mqtt.mgos.api
---@field EV_POLL integer 0
---@field EV_CLOSE integer 5
---@field EV_CONNACK integer 202
---@field EV_PUBLISH integer 203
---@field EV_PUBACK integer 204
---@field EV_SUBACK integer 209
---@field EV_UNSUBACK integer 211
local MQTT = {}

---@return boolean
function MQTT.isConnected() end

---@param topic string
---@param message string|number
---@param qos nodemcu.mqtt.qos? default 0
---@param retain nodemcu.mqtt.flag? default 0
---@return 0|1 accepted
function MQTT.pub(topic, message, qos, retain) end

---@param topic string a filter
---@param handler nodemcu.mqtt.mgos.handler
---@param ud any
function MQTT.sub(topic, handler, ud) end

---Replaces the handler that it has set before; nil: none.
---@param handler nodemcu.mqtt.mgos.event_handler?
---@param ud any
function MQTT.setEventHandler(handler, ud) end

return MQTT
