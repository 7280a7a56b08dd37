-- kit.run_script: a device script in an environment of its own, with its clients and timers, that a test can look into
-- and stop.

local mqtt = require("mqtt")
local tmr = require("mqtt.tmr")
local native = require("mqtt.test.native")
local blame = require("mqtt.test.blame")
local device = require("nodemcu.device")
local language = require("nodemcu.language")
local loading = require("nodemcu.loading")
local modules = require("nodemcu.modules")

local Script = {}
Script.__index = Script

local function load_into(env, path)
  local setfenv = rawget(_G, "setfenv")
  if not setfenv then return loading.file(path, "bt", env) end
  local chunk, why = loading.file(path)
  return chunk and setfenv(chunk, env), why
end

-- `mqtt` and `tmr` as the script sees them: what it makes is noted down.
local function instruments(script)
  local clients, timers = script.made, script.timers
  local function client(...)
    local made = blame(mqtt.Client, ...)
    clients[#clients + 1] = made
    return made
  end
  local function timer()
    local made = tmr.create()
    timers[#timers + 1] = made
    return made
  end
  return setmetatable({ Client = client }, { __index = mqtt }), setmetatable({ create = timer }, { __index = tmr })
end

-- The script's `require`, `dofile` and `loadfile`: files of its own run in its environment too, and are loaded anew
-- for each script. A file of the project hides no module that is ours.
local function loaders(script)
  local env = script.env
  local loaded = { mqtt = env.mqtt, ["nodemcu.mqtt"] = env.mqtt, ["mqtt.tmr"] = env.tmr }
  env.package.loaded = setmetatable(loaded, { __index = package.loaded })
  local function load(path) return load_into(env, path) end
  local function own(name) return loading.by_name(name, { script.folder, device.root, "." }, load) end
  function env.loadfile(name)
    local chunk, why = own(name)
    if chunk or why then return chunk, why end
    return load(name)
  end
  function env.loadstring(text, name)
    local chunk, why = loading.text(text, name)
    return chunk and env.setfenv(chunk, env), why
  end
  function env.dofile(name)
    local chunk, why = env.loadfile(name)
    if not chunk then error(why, 2) end
    return chunk()
  end
  function env.require(name)
    local known = rawget(loaded, name)
    if known ~= nil then return known end
    local path = name:gsub("%.", "/")
    local chunk, why = own(path .. ".lua")
    if not chunk and not why then chunk, why = own(path .. ".lc") end
    if why then error(why, 2) end
    if not chunk then
      -- on a device the module behind the global
      if name == "tmr" or modules.has(name) then return env[name] end
      return require(name)
    end
    local value = chunk(name)
    if value ~= nil then loaded[name] = value end
    if rawget(loaded, name) == nil then loaded[name] = true end
    return loaded[name]
  end
end

-- What ends the boot of a script, if it is ours to say.
local power

-- Lets node.restart and node.dsleep stop the script, unless somebody else takes care of them.
local function watch_power(script)
  if device.power and device.power ~= power then return end
  power = function(kind)
    script.ended = kind
    script:stop()
  end
  device.power = power
end

-- Everything that the script may call, over the interpreter's own globals.
local function environment(script, options)
  local env = script.env
  env._G = env
  env.arg = options.args or {}
  env.mqtt, env.tmr = instruments(script)
  function env.print(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    script.output[#script.output + 1] = table.concat(words, "\t")
  end
  language.extend(env)
  loaders(script)
  for name, value in pairs(options.globals or {}) do env[name] = value end
  setmetatable(env, {
    __index = function(_, name)
      local value = rawget(_G, name)
      if value ~= nil then return value end
      local module = modules.find(name)
      if module then watch_power(script) end
      env[name] = module
      return module
    end,
  })
end

---The clients that it made, oldest first.
---@return nodemcu.mqtt.client[]
function Script:clients()
  local list = {}
  for i, client in ipairs(self.made) do list[i] = client end
  return list
end

---Whether it printed this line.
---@param line string
---@return boolean
function Script:printed(line)
  for _, printed in ipairs(self.output) do
    if printed == line then return true end
  end
  return false
end

-- What a client of a stopped script shall not call any more.
local EVENTS = { "connect", "connfail", "message", "overflow", "offline", "puback", "suback", "unsuback" }

---Closes its clients and stops its timers: none of its callbacks runs any more.
function Script:stop()
  for _, client in ipairs(self.made) do
    for _, event in ipairs(EVENTS) do client:on(event, nil) end
    client:close()
  end
  for _, timer in ipairs(self.timers) do timer:unregister() end
  for id = 0, 6 do tmr.unregister(id) end
  if self.led then native.lead(nil) end
  self.made, self.timers, self.led = {}, {}, false
end

local script = {}

---@param path string
---@param options nodemcu.mqtt.test.script.options?
---@return nodemcu.mqtt.test.script
function script.run(path, options)
  options = options or {}
  local self = setmetatable({
    env = {}, output = {}, made = {}, timers = {}, led = options.broker ~= nil, folder = path:match("^(.*)/") or ".",
  }, Script)
  environment(self, options)
  self.env.arg[0] = path
  local chunk, why = load_into(self.env, path)
  if not chunk then error(why, 3) end
  if self.led then native.lead(options.broker.port) end
  local unpack = rawget(_G, "unpack") or table.unpack -- luacheck: ignore 143
  local ok, err = pcall(chunk, unpack(self.env.arg))
  if not ok then
    self:stop() -- nobody else could
    error(err, 0)
  end
  return self
end

return script
