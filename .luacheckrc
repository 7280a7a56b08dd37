-- Every file has to run on Lua 5.1 to 5.4 and on LuaJIT: only what they share is known.
std = "min"
max_line_length = 120
unused_args = true
exclude_files = { "target" }

-- What is global on a device, and what its Lua has beyond the common ground.
local device = {
  "adc", "bit", "cjson", "dht", "enduser_setup", "file", "gpio", "http", "i2c", "mqtt", "net", "node", "pwm", "rtcmem",
  "rtctime", "sim", "sjson", "sntp", "tmr", "uart", "wifi", "getfenv", "loadstring", "setfenv", "unpack",
  math = { fields = { "pow", "log10", "ldexp", "frexp" } },
  table = { fields = { "getn", "maxn", "foreach", "foreachi" } },
}

-- Scripts as they stand on a device.
files["lua_examples"] = { read_globals = device }
-- … and as a configuration drives them.
files["lua_examples/mgos"] = { read_globals = { "mgos_mqtt", "MQTT" } }
-- Device scripts find each other through globals.
files["lua_examples/mqtt/mqtt_helpers.lua"] = { globals = { "subscribe_multi", "unsubscribe_multi" } }
files["lua_examples/mqtt/subscribe_many.lua"] = { read_globals = { "subscribe_multi", "unsubscribe_multi" } }

files["tests/spec"] = { std = "min+busted" }
files["tests/spec/device"] = { std = "min+busted", read_globals = device }
