-- Modules of the devices that are not simulated at all: each function raises an error that says so.

local device = require("nodemcu.device")

local NAMES = {
  "adxl345", "ads1115", "am2320", "apa102", "bme280", "bme280_math", "bme680", "bmp085", "can", "coap", "color_utils",
  "cron", "crypto", "dac", "ds18b20", "encoder", "eromfs", "eth", "fatfs", "fifosock", "gdbstub", "gossip", "hdc1080",
  "hmc5883l", "http", "httpd", "hx711", "i2s", "l3g4200d", "ledc", "matrix", "mcp4725", "mdns", "otaupgrade", "ow",
  "pcm", "perf", "pipe", "pixbuf", "pulsecnt", "pwm2", "qrcodegen", "rc", "rmt", "rfswitch", "rotary", "rtcfifo",
  "sdmmc", "si7021", "sigma_delta", "softuart", "somfy", "spi", "struct", "switec", "sqlite3", "tcs34725",
  "touch", "tm1829", "tsl2561", "u8g", "u8g2", "ucg", "websocket", "wiegand", "wps", "ws2801", "ws2812",
  "ws2812_effects", "xpt2046",
}

local absent = {}
for _, name in ipairs(NAMES) do absent[name] = device.seal(name, {}) end

return absent
