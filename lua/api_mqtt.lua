-- The JS API of Mongoose OS: MQTT.pub, MQTT.sub, MQTT.isConnected, MQTT.setEventHandler, MQTT.EV_*.
return require("mqtt.mgos.api")
