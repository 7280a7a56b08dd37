-- Every file has to run on Lua 5.1 to 5.4 and on LuaJIT: only what they share is known.
std = "min"
max_line_length = 120
unused_args = true
exclude_files = { "target" }

-- Scripts as they stand on a device: what is global there, and what its Lua has beyond the common ground. For a project
-- of your own copy this, and say std = "min+nodemcu".
stds.nodemcu = {
  read_globals = {
    -- real or simulated here
    "adc", "bit", "cjson", "dht", "enduser_setup", "file", "gpio", "i2c", "mqtt", "net", "node", "pwm", "rtcmem",
    "rtctime", "sim", "sjson", "sntp", "tls", "tmr", "uart", "wifi",
    -- on devices only
    "adxl345", "ads1115", "am2320", "apa102", "bme280", "bme280_math", "bme680", "bmp085", "can", "coap",
    "color_utils", "cron", "crypto", "dac", "ds18b20", "encoder", "eromfs", "eth", "fatfs", "fifosock", "gdbstub",
    "gossip", "hdc1080", "hmc5883l", "http", "httpd", "hx711", "i2s", "l3g4200d", "ledc", "matrix", "mcp4725", "mdns",
    "otaupgrade", "ow", "pcm", "perf", "pipe", "pixbuf", "pulsecnt", "pwm2", "qrcodegen", "rc", "rmt", "rfswitch",
    "rotary", "rtcfifo", "sdmmc", "si7021", "sigma_delta", "softuart", "somfy", "spi", "struct", "switec", "sqlite3",
    "tcs34725", "touch", "tm1829", "tsl2561", "u8g", "u8g2", "ucg", "websocket", "wiegand", "wps", "ws2801", "ws2812",
    "ws2812_effects", "xpt2046",
    -- Lua 5.1
    "getfenv", "loadstring", "module", "setfenv", "unpack",
    math = { fields = { "pow", "mod", "log10", "ldexp", "frexp", "sinh", "cosh", "tanh" } },
    table = { fields = { "getn", "maxn", "foreach", "foreachi" } },
    string = { fields = { "gfind" } },
    package = { fields = { "seeall" } },
  },
}

files["lua_examples"] = { std = "min+nodemcu" }
-- … and as a configuration drives them.
files["lua_examples/mgos"] = { read_globals = { "mgos_mqtt", "MQTT" } }
-- Tests of device scripts.
files["lua_examples/testing/*_spec.lua"] = { std = "min+busted" }
-- Declarations without bodies.
files["lua/types"] = { unused = false, max_line_length = false, std = "min+nodemcu" }
files["lua/types/device.lua"] = { ignore = { "111", "121" } }
-- Device scripts find each other through globals.
files["lua_examples/mqtt/mqtt_helpers.lua"] = { globals = { "subscribe_multi", "unsubscribe_multi" } }
files["lua_examples/mqtt/subscribe_many.lua"] = { read_globals = { "subscribe_multi", "unsubscribe_multi" } }

files["tests/spec"] = { std = "min+busted" }
files["tests/spec/device"] = { std = "min+busted+nodemcu" }
