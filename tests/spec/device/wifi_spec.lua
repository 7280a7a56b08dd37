-- wifi: station, access point and events of both generations; enduser_setup.

local mqtt = require("mqtt")
require("nodemcu")

describe("wifi", function()
  after_each(sim.reset)

  it("is a station that is connected", function()
    assert.are.equal(wifi.STATION, wifi.getmode())
    assert.are.equal(5, wifi.sta.status())
    assert.are.equal(wifi.STA_GOTIP, wifi.sta.status())
    local ip, netmask, gateway = wifi.sta.getip()
    for _, address in ipairs { ip, netmask, gateway } do assert.matches("^%d+%.%d+%.%d+%.%d+$", address) end
    assert.are.equal("192.168.1.255", wifi.sta.getbroadcast())
    assert.is_true(wifi.sta.getrssi() < 0)
    assert.matches("^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$", wifi.sta.getmac())
    assert.matches("^NODE%-%x%x%x%x%x%x$", wifi.sta.gethostname())
  end)

  it("has the chip's id in its address and its name", function()
    local id = ("%06x"):format(node.chipid())
    assert.are.equal(id, (wifi.sta.getmac():gsub(":", ""):sub(-6)))
    assert.are.equal("NODE-" .. id:upper(), wifi.sta.gethostname())
  end)

  it("is what sim.wifi says", function()
    sim.wifi { ip = "10.0.0.9", rssi = -80, mac = "02:00:00:00:00:09", ssid = "cellar" }
    assert.are.equal("10.0.0.9", (wifi.sta.getip()))
    assert.are.equal(-80, wifi.sta.getrssi())
    assert.are.equal("02:00:00:00:00:09", wifi.sta.getmac())
    assert.are.equal("cellar", (wifi.sta.getconfig()))
    sim.wifi(false)
    assert.is_nil(wifi.sta.getip())
    assert.are_not.equal(5, wifi.sta.status())
    assert.is_nil(wifi.sta.getrssi())
    sim.wifi(true)
    assert.are.equal("10.0.0.9", (wifi.sta.getip()))
    assert.has_error(function() sim.wifi { nonsense = 1 } end)
  end)

  it("takes the settings of both generations", function()
    assert.are.equal(wifi.STATIONAP, wifi.setmode(wifi.STATIONAP))
    assert.are.equal(wifi.STATION, wifi.mode(wifi.STATION))
    assert.are.equal(wifi.STATION, wifi.getmode())
    assert.is_true(wifi.sta.config("cellar", "secret99", 1))
    assert.are.same({ "cellar", "secret99" }, { (wifi.sta.getconfig()), (select(2, wifi.sta.getconfig())) })
    assert.is_true(wifi.sta.config { ssid = "attic", pwd = "secret88", save = true })
    assert.are.same({ ssid = "attic", pwd = "secret88", bssid_set = false }, wifi.sta.getconfig(true))
    assert.is_true(wifi.sta.sethostname("kitchen-1"))
    assert.are.equal("kitchen-1", wifi.sta.gethostname())
    assert.is_false(wifi.sta.sethostname("no good"))
    assert.are.equal(wifi.PHYMODE_G, wifi.setphymode(wifi.PHYMODE_G))
    wifi.sta.setip { ip = "10.1.1.1", netmask = "255.0.0.0", gateway = "10.0.0.1" }
    assert.are.same({ "10.1.1.1", "255.0.0.0", "10.0.0.1" }, { wifi.sta.getip() })
    assert.is_true(wifi.ap.config { ssid = "mine", pwd = "12345678" })
    assert.are.equal("mine", (wifi.ap.getconfig()))
    assert.are.equal("192.168.4.1", (wifi.ap.getip()))
    assert.are.same({}, wifi.ap.getclient())
    wifi.start()
    wifi.stop()
  end)

  it("scans", function()
    sim.wifi { aps = { { ssid = "other", bssid = "02:00:00:00:00:07", rssi = -90, channel = 11, auth = 0 } } }
    local found, by_address, list
    wifi.sta.getap(function(result) found = result end)
    wifi.sta.getap({ ssid = "other" }, 1, function(result) by_address = result end)
    wifi.sta.scan({}, function(err, result) list = not err and result end)
    mqtt.run(5)
    assert.are.equal("0,-90,02:00:00:00:00:07,11", found.other)
    assert.is_not_nil(found.desk)
    assert.are.same({ ["02:00:00:00:00:07"] = "other,-90,0,11" }, by_address)
    assert.are.equal(2, #list)
  end)
end)

describe("the events of wifi", function()
  local log

  local function note(name)
    return function(...) log[#log + 1] = { name, ... } end
  end

  local function names()
    mqtt.run(5)
    local list = {}
    for n, entry in ipairs(log) do list[n] = entry[1] end
    log = {}
    return table.concat(list, " ")
  end

  before_each(function() log = {} end)
  after_each(sim.reset)

  it("tell eventmon of the connection that is there, once, in the loop", function()
    wifi.eventmon.register(wifi.eventmon.STA_GOT_IP, note("ip"))
    wifi.eventmon.register(wifi.eventmon.STA_CONNECTED, note("link"))
    assert.are.same({}, log)
    mqtt.run(5)
    assert.are.same({
      { "link", { SSID = "desk", BSSID = "02:00:00:00:00:01", channel = 6 } },
      { "ip", { IP = "192.168.1.77", netmask = "255.255.255.0", gateway = "192.168.1.1" } },
    }, log)
    assert.is_true(mqtt.run(5))
    assert.are.equal(2, #log)
  end)

  it("come once for a script that registers, configures and connects", function()
    wifi.eventmon.register(wifi.eventmon.STA_GOT_IP, note("ip"))
    wifi.setmode(wifi.STATION)
    wifi.sta.config { ssid = "attic", pwd = "12345678" }
    wifi.sta.connect()
    assert.are.equal("ip", names())
  end)

  it("come again after each connect, and when the network comes and goes", function()
    wifi.eventmon.register(wifi.eventmon.STA_GOT_IP, note("ip"))
    wifi.eventmon.register(wifi.eventmon.STA_DISCONNECTED, function(info)
      assert.are.equal(wifi.eventmon.reason.NO_AP_FOUND, info.reason)
      log[#log + 1] = { "gone" }
    end)
    assert.are.equal("ip", names())
    wifi.sta.connect()
    assert.are.equal("ip", names())
    sim.wifi(false)
    assert.are.equal("gone", names())
    sim.wifi(true)
    assert.are.equal("ip", names())
  end)

  it("do not come while there is no network", function()
    sim.wifi(false)
    wifi.eventmon.register(wifi.eventmon.STA_GOT_IP, note("ip"))
    assert.are.equal("", names())
    sim.wifi(true)
    assert.are.equal("ip", names())
  end)

  it("tell of a station that leaves by itself", function()
    local reason
    wifi.sta.disconnect(function(info) reason = info.reason end)
    mqtt.run(5)
    assert.are.equal(wifi.eventmon.reason.ASSOC_LEAVE, reason)
    assert.is_nil(wifi.sta.getip())
    wifi.sta.connect()
    assert.are.equal(5, wifi.sta.status())
  end)

  it("end with unregister, or nil for a callback", function()
    wifi.eventmon.register(wifi.eventmon.STA_GOT_IP, note("ip"))
    wifi.eventmon.unregister(wifi.eventmon.STA_GOT_IP)
    assert.are.equal("", names())
    wifi.eventmon.register(wifi.eventmon.STA_GOT_IP, note("ip"))
    wifi.eventmon.register(wifi.eventmon.STA_GOT_IP, nil)
    assert.are.equal("", names())
  end)

  it("tell the oldest monitor the state before", function()
    wifi.sta.eventMonReg(wifi.STA_GOTIP, note("gotip"))
    wifi.sta.eventMonStart()
    mqtt.run(5)
    assert.are.same({ { "gotip", wifi.STA_IDLE } }, log)
    log = {}
    wifi.sta.eventMonStop()
    wifi.sta.connect()
    assert.are.equal("", names())
    wifi.sta.eventMonStart()
    assert.are.equal("gotip", names())
    wifi.sta.eventMonReg(wifi.STA_GOTIP, "unreg")
    wifi.sta.connect()
    assert.are.equal("", names())
  end)

  it("tell the ESP32's sta.on by name", function()
    wifi.sta.on("got_ip", note("on"))
    wifi.sta.on("connected", note("on"))
    wifi.sta.on("disconnected", note("on"))
    wifi.sta.on("start", note("on"))
    wifi.mode(wifi.STATION)
    wifi.start()
    wifi.sta.config { ssid = "attic", pwd = "12345678" }
    wifi.sta.connect()
    mqtt.run(5)
    local events = {}
    for _, entry in ipairs(log) do events[entry[2]] = entry[3] end
    assert.are.equal("attic", events.connected.ssid)
    assert.are.same({ ip = "192.168.1.77", netmask = "255.255.255.0", gw = "192.168.1.1" }, events.got_ip)
    assert.is_not_nil(events.start)
    log = {}
    sim.wifi(false)
    mqtt.run(5)
    assert.are.equal(201, log[1][3].reason)
    wifi.sta.on("got_ip", nil)
    assert.has_error(function() wifi.sta.on("nonsense", note("x")) end)
  end)

  it("come through the callbacks in a table of settings", function()
    wifi.sta.config { ssid = "attic", pwd = "12345678", got_ip_cb = note("ip"), connected_cb = note("link") }
    assert.are.equal("link ip", names())
  end)
end)

describe("enduser_setup", function()
  it("is done at once", function()
    local done = 0
    enduser_setup.start(function() done = done + 1 end, function() error("no") end, print)
    enduser_setup.start("portal", function() done = done + 1 end)
    enduser_setup.start()
    assert.are.equal(0, done)
    mqtt.run(5)
    assert.are.equal(2, done)
    enduser_setup.stop()
    assert.is_true(enduser_setup.manual(true))
    assert.is_true(enduser_setup.manual())
    enduser_setup.manual(false)
  end)
end)
