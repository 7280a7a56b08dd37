---@meta
-- The globals of a device script. For a project without device scripts leave this file out, so that a forgotten
-- `local mqtt = require("mqtt")` is found.

---What the simulated modules add to `sim`.
---@class nodemcu.sim
---@field adc fun(channel: integer, reading: integer|fun(channel: integer): integer)
---@field vdd33 fun(millivolts: integer|fun(): integer)
---@field dht fun(pin: integer, temperature: number|(fun(pin: integer): number, number, integer?), humidity: number?, status: integer?)
---@field gpio fun(pin: integer, level: (0|1|boolean)?): 0|1
---@field i2c fun(address: integer, it: (string|table<integer, integer>|nodemcu.i2c.device)?)
---@field pwm fun(pin: integer): integer, integer?
---@field uart fun(id: integer, data: string?): string?
---@field wifi fun(settings: boolean|table)

mqtt = require("mqtt")
tmr = require("mqtt.tmr")
adc = require("nodemcu.adc")
bit = require("nodemcu.bit")
cjson = require("nodemcu.sjson")
dht = require("nodemcu.dht")
enduser_setup = require("nodemcu.enduser_setup")
file = require("nodemcu.file")
gpio = require("nodemcu.gpio")
i2c = require("nodemcu.i2c")
net = require("nodemcu.net")
node = require("nodemcu.node")
pwm = require("nodemcu.pwm")
rtcmem = require("nodemcu.rtcmem")
rtctime = require("nodemcu.rtctime")
sim = require("nodemcu.sim").sim
sjson = require("nodemcu.sjson")
sntp = require("nodemcu.sntp")
tls = require("nodemcu.tls")
uart = require("nodemcu.uart")
wifi = require("nodemcu.wifi")

-- … and of one that a configuration drives (mqtt-lua --config).
mgos_mqtt = require("mgos_mqtt")
MQTT = require("api_mqtt")
