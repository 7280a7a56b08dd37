-- The C API of Mongoose OS: mgos_mqtt_pub(...) is mgos_mqtt.pub(...).
return require("mqtt.mgos")
