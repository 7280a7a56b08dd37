-- Every file has to run on Lua 5.1 to 5.4 and on LuaJIT: only what they share is known.
std = "min"
max_line_length = 120
unused_args = true
exclude_files = { "target" }

-- Scripts as they stand on a device: its modules are globals.
files["lua_examples"] = { read_globals = { "mqtt", "tmr", "node" } }
files["lua_examples/mgos"] = { read_globals = { "mqtt", "tmr", "mgos_mqtt", "MQTT" } }
-- Device scripts find each other through globals.
files["lua_examples/mqtt/mqtt_helpers.lua"] = { globals = { "subscribe_multi", "unsubscribe_multi" } }
files["lua_examples/mqtt/subscribe_many.lua"] = { read_globals = { "subscribe_multi", "unsubscribe_multi" } }

files["tests/spec"] = { std = "min+busted" }
