-- Which names a device has, which are missing, and their arguments.

local mqtt = require("mqtt")
require("nodemcu")

-- The names that scripts use, by module: see what was counted in public projects.
local NAMES = {
  wifi = {
    "setmode", "getmode", "mode", "start", "stop", "getchannel", "getphymode", "setphymode", "country", "getcountry",
    "setcountry", "setps", "startsmart", "suspend", "STATION", "SOFTAP", "STATIONAP", "NULLMODE", "STA_GOTIP",
    "STA_IDLE", "STA_CONNECTING", "STA_WRONGPWD", "STA_APNOTFOUND", "STA_FAIL", "PHYMODE_N", "PHYMODE_G", "OPEN",
    "PS_NONE", "COUNTRY_MANUAL",
  },
  ["wifi.sta"] = {
    "config", "getip", "status", "connect", "disconnect", "gethostname", "sethostname", "getmac", "getap",
    "getconfig", "getdefaultconfig", "getrssi", "autoconnect", "eventMonReg", "eventMonStart", "eventMonStop",
    "clearconfig", "setip", "on", "scan", "getapinfo", "getapindex",
  },
  ["wifi.ap"] = {
    "getmac", "config", "setip", "getip", "on", "getclient", "getconfig", "getdefaultconfig", "sethostname", "dhcp",
  },
  ["wifi.ap.dhcp"] = { "config", "start" },
  ["wifi.eventmon"] = {
    "register", "unregister", "STA_GOT_IP", "STA_CONNECTED", "STA_DISCONNECTED", "STA_DHCP_TIMEOUT",
    "AP_STACONNECTED", "AP_STADISCONNECTED", "reason",
  },
  node = {
    "heap", "restart", "chipid", "compile", "output", "input", "bootreason", "dsleep", "info", "readvdd33", "restore",
    "task", "uptime", "CPU160MHZ", "setcpufreq", "osprint", "LFS", "egc", "flashindex", "flashreload", "flashsize",
    "getcpufreq", "flashid",
  },
  ["node.task"] = { "post", "LOW_PRIORITY", "MEDIUM_PRIORITY", "HIGH_PRIORITY" },
  tmr = {
    "alarm", "stop", "ALARM_SINGLE", "ALARM_AUTO", "ALARM_SEMI", "now", "delay", "time", "unregister", "start",
    "softwd", "wdclr", "register", "interval", "create", "state",
  },
  gpio = {
    "write", "mode", "read", "trig", "LOW", "HIGH", "OUTPUT", "INPUT", "PULLUP", "INT", "FLOAT", "INTR_HIGH",
    "INTR_LOW", "wakeup", "PULLDOWN", "config", "serout",
  },
  adc = {
    "read", "force_init_mode", "readvdd33", "INIT_VDD33", "INIT_ADC", "ADC1", "ATTEN_11db", "ATTEN_6db", "ATTEN_0db",
    "setup", "setwidth",
  },
  dht = { "read", "read11", "OK", "ERROR_CHECKSUM", "ERROR_TIMEOUT" },
  file = {
    "open", "close", "remove", "read", "write", "exists", "list", "readline", "rename", "writeline", "fsinfo",
    "flush", "seek", "stat",
  },
  sjson = { "encode", "decode", "encoder", "decoder", "NULL" },
  cjson = { "encode", "decode" },
  rtctime = { "get", "set", "epoch2cal", "dsleep" },
  sntp = { "sync" },
  net = { "TCP", "UDP", "dns", "IF_WIFI_AP", "ifinfo", "cert" },
  ["net.cert"] = { "verify", "auth" },
  ["tls.cert"] = { "verify", "auth" },
  ["net.dns"] = { "resolve", "setdnsserver", "getdnsserver" },
  bit = { "bor", "lshift", "band", "rshift", "arshift", "isset", "clear", "set", "bnot", "bxor" },
  uart = { "setup", "write", "on", "PARITY_NONE", "STOPBITS_1", "STOPBITS_2" },
  i2c = { "setup", "SLOW", "TRANSMITTER", "RECEIVER", "address", "start", "stop", "write", "read", "FAST", "HW0" },
  pwm = { "setup", "start", "stop", "setduty", "setclock", "close" },
  enduser_setup = { "start", "stop", "manual" },
  rtcmem = { "read32", "write32" },
  sim = { "gpio", "adc", "dht", "i2c", "pwm", "uart", "wifi", "vdd33", "on", "reset" },
}

local function find(path)
  local it = _G
  for part in path:gmatch("[^.]+") do it = it[part] end
  return it
end

describe("require(\"nodemcu\")", function()
  it("makes the modules of a device global", function()
    for path, names in pairs(NAMES) do
      local module = find(path)
      assert.are.equal("table", type(module), path)
      for _, name in ipairs(names) do
        assert.is_not_nil(rawget(module, name), path .. "." .. name)
      end
    end
  end)

  it("takes the native mqtt and tmr", function()
    assert.are.equal(mqtt, _G.mqtt)
    assert.are.equal(require("mqtt.tmr"), _G.tmr)
    assert.are.equal(sjson, cjson)
  end)

  it("keeps them behind the globals: what a script sets to nil is there again", function()
    local module = dht
    rawset(_G, "dht", nil)
    assert.are.equal(module, dht)
    rawset(_G, "dht", "own")
    assert.are.equal("own", _G.dht)
    rawset(_G, "dht", module)
  end)

  it("returns the modules", function()
    local device = require("nodemcu")
    assert.are.equal(gpio, device.gpio)
    assert.are.equal("function", type(device.configure))
  end)
end)

describe("what is not simulated", function()
  local function message(f, ...)
    local ok, err = pcall(f, ...)
    assert.is_false(ok)
    assert.are.equal("string", type(err))
    return err
  end

  it("raises an error that names the function, where the script calls it", function()
    local err = message(function() http.get("http://localhost", nil, print) end)
    assert.matches("names_spec%.lua:%d+: http%.get is not simulated$", err)
    assert.matches("net%.createConnection is not simulated$", message(function() net.createConnection(net.TCP, 0) end))
    assert.matches("net%.createServer is not simulated$", message(function() net.createServer(net.TCP, 30) end))
    assert.matches("tmr%.ccount is not simulated$", message(function() tmr.ccount() end))
    assert.matches("node%.sleep is not simulated$", message(function() node.sleep {} end))
    assert.matches("ws2812%.init is not simulated$", message(function() _G.ws2812.init() end))
    assert.matches("wifi%.sta%.nosuch is not simulated$", message(function() wifi.sta.nosuch() end))
  end)

  it("names functions in tables, and methods", function()
    assert.matches("gpio%.pulse%.build is not simulated$", message(function() gpio.pulse.build {} end))
    assert.matches("net%.route%.add is not simulated$", message(function() net.route.add() end))
    assert.matches("node%.thing%.method is not simulated$", message(function() node.thing:method() end))
    local timer = tmr.create()
    assert.matches("names_spec%.lua:%d+: tmr%.suspend is not simulated$", message(function() timer:suspend() end))
    assert.matches("tmr%.resume is not simulated$", message(function() timer:resume() end))
  end)

  it("raises for a constant when it is read", function()
    assert.matches("gpio%.NO_SUCH is not simulated$", message(function() return gpio.NO_SUCH end))
  end)

  it("can be asked for without harm", function()
    assert.is_not_nil(http.get)
    assert.matches("not simulated", tostring(http.get))
  end)

  it("leaves what a script makes of it", function()
    local module = http
    rawset(module, "get", function() return "own" end)
    assert.are.equal("own", http.get())
    rawset(module, "get", nil)
    assert.matches("not simulated", message(function() http.get() end))
  end)
end)

describe("arguments", function()
  it("are checked as on the device, with plain strings as errors", function()
    for text, f in pairs {
      ["bad argument #1 to 'mode' %(number expected, got nil%)"] = function() gpio.mode() end,
      ["bad argument #2 to 'write' %(0%.%.1 expected, got 2%)"] = function() gpio.write(1, 2) end,
      ["bad argument #1 to 'read' %(number expected, got boolean%)"] = function() adc.read(true) end,
      ["bad argument #1 to 'config' %(string expected, got nil%)"] = function() wifi.sta.config {} end,
      ["bad argument #2 to 'post' %(function expected, got nil%)"] = function() node.task.post(1) end,
      ["bad argument #1 to 'configure' %(root, chipid or profile expected, got rot%)"] = function()
        require("nodemcu").configure { rot = 1 }
      end,
      ["no such profile: esp1"] = function() require("nodemcu").configure { profile = "esp1" } end,
    } do
      local ok, err = pcall(f)
      assert.is_false(ok)
      assert.matches("^tests/spec/device/names_spec%.lua:%d+: " .. text, err:gsub("^.*/tests", "tests"))
    end
  end)

  it("may be numbers as strings", function()
    gpio.mode("4", gpio.OUTPUT)
    gpio.write("4", "1")
    assert.are.equal(1, gpio.read(4))
    sim.reset()
  end)
end)
