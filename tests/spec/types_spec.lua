-- The annotations in lua/types say what the modules are: every name is there and in no other place, and each function
-- takes as many arguments as they say.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local kit = require("mqtt.test")
local mgos_mqtt = require("mgos_mqtt")
local modules = require("nodemcu.modules")
local support = require("tests.spec.mgos.support")

-- Reads one file of annotations: class -> { names = { name -> number of parameters, or true for a field } }.
local function annotations(name)
  local classes, tables, class = {}, {}, nil
  for line in io.lines("lua/types/" .. name .. ".lua") do
    local declared = line:match("^%-%-%-@class ([%w_.]+)")
    local field = line:match("^%-%-%-@field ([%w_]+)")
    local variable = line:match("^local ([%w_]+) = {}")
    local owner, method, parameters = line:match("^function ([%w_]+)[.:]([%w_]+)%((.*)%) end$")
    if declared then
      class = {}
      classes[declared] = class
    elseif field then
      class[field] = true
    elseif variable then
      tables[variable] = class
    elseif owner then
      local count = 0
      for _ in parameters:gmatch("[%w_.]+") do count = count + 1 end
      local owning = tables[owner]
      owning[method] = count
    end
  end
  return classes
end

local names = require("tests.spec.wrong").sorted

-- The names that can be called on an object, or stand in a module.
local function real(object)
  local found = {}
  local meta = debug.getmetatable(object)
  if type(object) == "table" then
    for name in pairs(object) do found[name] = true end
  end
  if type(meta) == "table" and type(meta.__index) == "table" then
    for name in pairs(meta.__index) do found[name] = true end
  end
  -- kept by objects for themselves
  for _, name in ipairs { "handle", "hand", "made", "timers", "folder", "led", "__index" } do found[name] = nil end
  return names(found)
end

-- The std for device scripts in the project's .luacheckrc.
local function luacheck_std()
  local env = { stds = {}, files = {} }
  local setfenv = rawget(_G, "setfenv")
  local chunk = assert(loadfile(".luacheckrc", "t", env))
  if setfenv then setfenv(chunk, env) end
  chunk()
  return env.stds.nodemcu
end

describe("the annotations of", function()
  after_each(support.finish)

  local function client() return support.client("types") end
  local function idle(event) return function() local c = client() c:on(event, nil) return c end end

  it("mqtt name what there is", function()
    local types = annotations("mqtt")
    local module = {}
    for name in pairs(mqtt) do module[name] = true end
    module.client = nil -- only there to say that this is not luamqtt
    assert.are.same(names(module), names(types["nodemcu.mqtt"]))
    assert.are.same(real(client()), names(types["nodemcu.mqtt.client"]))
    assert.are.same(real(mqtt.pollable), names(types["nodemcu.mqtt.pollable"]))
    assert.are.same(names(mqtt.stats()), names(types["nodemcu.mqtt.stats"]))
  end)

  it("tmr name what there is", function()
    local types = annotations("tmr")
    local module = {}
    for name in pairs(tmr) do module[name] = true end
    -- of the watchdog, and of no use here
    module.softwd, module.wdclr = nil, nil
    assert.are.same(names(module), names(types["nodemcu.mqtt.tmr"]))
    assert.are.same(real(tmr.create()), names(types["nodemcu.mqtt.timer"]))
  end)

  it("mqtt.broker and mqtt.test name what there is", function()
    local types = annotations("broker")
    assert.are.same(real(require("mqtt.broker")), names(types["nodemcu.mqtt.broker.module"]))
    local expected = names(types["nodemcu.mqtt.broker"])
    assert.are.same(expected, real(support.broker()))
    local message = support.broker()
    local writer = support.connected(message.port)
    writer:publish("t", "x", 1)
    kit.eventually(function() return #message:received() == 1 end)
    assert.are.same(names(message:received()[1]), names(types["nodemcu.mqtt.broker.message"]))

    types = annotations("test")
    local clock = kit.clock()
    clock:restore()
    assert.are.same(names(types["nodemcu.mqtt.test.clock"]), real(clock))
    local path = os.tmpname()
    local script = kit.run_script(path)
    os.remove(path)
    local expected_of_script = types["nodemcu.mqtt.test.script"]
    script.ended = "restart" -- nil in one that has not ended itself
    assert.are.same(names(expected_of_script), real(script))
  end)

  it("mgos_mqtt and api_mqtt name what there is", function()
    local types = annotations("mgos")
    assert.are.same(real(mgos_mqtt), names(types["nodemcu.mqtt.mgos"]))
    assert.are.same(real(support.idle()), names(types["nodemcu.mqtt.mgos.conn"]))
    assert.are.same(real(require("api_mqtt")), names(annotations("mgos_api")["nodemcu.mqtt.mgos.api"]))
    mgos_mqtt.configure {}
    local section = mgos_mqtt.config().mqtt
    section.pass, section.ssl_psk_key = "not shown", "not shown"
    assert.are.same(names(section), names(types["nodemcu.mqtt.mgos.section"]))
    assert.are.same(names(mgos_mqtt.config()), names(types["nodemcu.mqtt.mgos.config"]))
  end)

  it("the device, and the std of luacheck, name its globals", function()
    local expected = { mqtt = true, tmr = true, cjson = true, sim = true }
    for _, name in ipairs(modules.NAMES) do expected[name] = true end
    local sim = annotations("device")["nodemcu.sim"]
    for _, name in ipairs(names(modules.find("sim"))) do
      if name ~= "on" and name ~= "reset" then assert.is_true(sim[name], name) end
    end
    local declared = { MQTT = true, mgos_mqtt = true }
    for name in pairs(expected) do declared[name] = true end
    local found = {}
    for line in io.lines("lua/types/device.lua") do
      local name = line:match("^([%w_]+) = require")
      if name then found[name] = true end
    end
    assert.are.same(declared, found)

    for name in pairs(require("nodemcu.absent")) do expected[name] = true end
    for _, name in ipairs { "getfenv", "loadstring", "module", "setfenv", "unpack" } do expected[name] = true end
    found = {}
    for _, name in ipairs(luacheck_std().read_globals) do found[name] = true end
    assert.are.same(expected, found)
  end)

  it("options list the keys that the module knows", function()
    local function known(f, ...)
      local _, message = pcall(f, ...)
      local list = {}
      for name in message:match("one of (.-) expected, got"):gmatch("[%w_]+") do list[name] = true end
      return names(list)
    end
    local nonsense = { nonsense = 1 }
    local types, broker = annotations("mqtt"), annotations("broker")
    assert.are.same(known(mqtt.Client, nonsense), names(types["nodemcu.mqtt.options"]))
    assert.are.same(known(client().connect, client(), "mqtts://h", nil, nonsense),
      names(types["nodemcu.mqtt.security"]))
    assert.are.same(known(kit.broker, nonsense), names(broker["nodemcu.mqtt.broker.options"]))
    assert.are.same(known(kit.broker, { faults = nonsense }), names(broker["nodemcu.mqtt.broker.faults"]))
    local one = support.broker()
    assert.are.same(known(one.received, one, nonsense), names(broker["nodemcu.mqtt.broker.wanted"]))
  end)

  -- Arguments that are right. Each in turn is replaced by a thread, which nothing takes: the error has to name it. One
  -- more than there are is ignored.
  local function f() end
  local ANYTHING = {} -- an argument that takes whatever is given
  local thread = coroutine.create(f)
  local unpack = rawget(_G, "unpack") or table.unpack -- luacheck: ignore 143

  local mongoose = {
    configure = { {} }, configure_file = { "none" }, conn_create = { support.number(), {}, {} }, set_config = { {} },
    pub = { "t", "m", 0, 0 }, pubf = { "t", 0, 0, "{a: %d}", 1 }, pubv = { "t", 0, 0, "{a: %d}", { 1 } },
    sub = { "t", f, ANYTHING }, unsub = { "t" }, global_subscribe = { "t", f, ANYTHING },
    add_global_handler = { f, ANYTHING }, add_cloud_handler = { f }, set_connect_fn = { f, ANYTHING },
    send_handshake = { "id", {} }, set_max_qos = { 0 },
  }

  local calls = {
    { "mqtt", "nodemcu.mqtt", function() return mqtt end, {
      Client = { "id", 60, "user", "pass", 1, 1000 },
      run = { 0 }, poll = { 0 }, wait = { function() return true end, 0 }, matches = { "a", "a" },
      log = { f }, trace = { f },
    } },
    { "mqtt", "nodemcu.mqtt.client", idle("connect"), {
      lwt = { "t", "m", 0, 0 }, on = { "message", f }, connect = { "127.0.0.1", 1, 0, 0, f, f },
      publish = { "t", "m", 0, 0, f }, subscribe = { "t", 0, f }, unsubscribe = { "t", f },
    } },
    { "tmr", "nodemcu.mqtt.timer", function() return tmr.create() end, {
      alarm = { 1000, 0, f }, register = { 1000, 0, f }, start = { false }, interval = { 1000 },
    } },
    { "tmr", "nodemcu.mqtt.tmr", function() return tmr end, {
      alarm = { 6, 1000, 0, f }, register = { 6, 1000, 0, f }, start = { 6, false }, stop = { 6 },
      interval = { 6, 1000 }, state = { 6 }, unregister = { 6 }, delay = { 1 },
    } },
    { "broker", "nodemcu.mqtt.broker", support.broker, {
      publish = { "t", "m", 0, 0 }, subscriptions = { "c" }, kill = { "c" }, send_raw = { "c", "x" }, received = { {} },
      faults = { {} }, next_faults = { {} }, client_faults = { "c", {} },
    } },
    { "mgos", "nodemcu.mqtt.mgos", function() return mgos_mqtt end, mongoose },
    { "mgos", "nodemcu.mqtt.mgos.conn", support.idle, mongoose },
    { "mgos_api", "nodemcu.mqtt.mgos.api", function() return require("api_mqtt") end, {
      pub = { "t", "m", 0, 0 }, sub = { "t", f, ANYTHING }, setEventHandler = { f, ANYTHING },
    } },
  }

  for _, entry in ipairs(calls) do
    local file, class, make, samples = unpack(entry)
    it(class .. " tell how many arguments there are", function()
      local is_module = type(make()) == "table" and file ~= "broker"
      for name, parameters in pairs(annotations(file)[class]) do
        local sample = samples[name] or {}
        if parameters ~= true then
          assert.are.equal(parameters, #sample, name)
          for i = 1, #sample do
            if sample[i] ~= ANYTHING then
              local object = make()
              local arguments = { unpack(sample) }
              arguments[i] = thread
              local ok, message
              if is_module then
                ok, message = pcall(object[name], unpack(arguments, 1, #sample))
              else
                ok, message = pcall(object[name], object, unpack(arguments, 1, #sample))
              end
              assert.is_false(ok, name .. " takes anything as argument " .. i)
              assert.matches(("bad argument #%d to '%s'"):format(i, name), message, 1, true)
            end
          end
        end
      end
      for id = 0, 6 do tmr.unregister(id) end
    end)
  end
end)
