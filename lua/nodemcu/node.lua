-- `node`: the chip itself. Restarting and deep sleep are the runner's; the console is `node_console`.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local console = require("nodemcu.node_console")
local loading = require("nodemcu.loading")
local chip_id = require("nodemcu.chip")
local tmr = require("mqtt.tmr")
local check = device.check

---@class nodemcu.node
local node = {
  CPU80MHZ = 80, CPU160MHZ = 160,
  INT_UP = 1, INT_DOWN = 2, INT_BOTH = 3, INT_LOW = 4, INT_HIGH = 5,
  input = console.input,
  output = console.output,
}

-- The memory that node.heap() pretends to have: scripts that restart below some limit should not.
local HEAP = 64 * 1024 * 1024
local FLASH_ID = 0x1640EF
local FLASH_SIZE = 4 * 1024 * 1024
-- The longest deep sleep, in microseconds: about 3.8 hours.
local LONGEST_SLEEP = 13.7e9

-- ---- Who it is ----

---The id of this "chip": a number of 24 bits, the same in every run on this machine.
---@return integer
function node.chipid()
  device.chipid = device.chipid or chip_id()
  return device.chipid
end

---@return integer
function node.flashid() return FLASH_ID end

---@return integer bytes
function node.flashsize() return FLASH_SIZE end

local VERSION = { 3, 0, 0 }

local function build()
  return { ssl = true, lfs_size = 0, modules = "", number_type = "float" }
end

---Without a group the older form: eight values.
---@param group ("hw"|"sw_version"|"build_config")?
function node.info(group)
  if group == nil then
    return VERSION[1], VERSION[2], VERSION[3], node.chipid(), FLASH_ID, FLASH_SIZE, 2, 40000000
  elseif group == "hw" then
    return {
      chip_id = node.chipid(), flash_id = FLASH_ID, flash_size = FLASH_SIZE, flash_mode = 2, flash_speed = 40000000,
    }
  elseif group == "sw_version" then
    return {
      git_branch = "release", git_commit_id = "", git_release = table.concat(VERSION, "."), git_commit_dts = "",
      node_version_major = VERSION[1], node_version_minor = VERSION[2], node_version_revision = VERSION[3],
    }
  elseif group == "build_config" then
    return build()
  end
  device.raise(("bad argument #1 to 'info' (invalid option '%s')"):format(tostring(group)))
end

---Bytes of heap that are free.
---@return integer
function node.heap()
  return math.max(0, math.floor(HEAP - collectgarbage("count") * 1024))
end

---Millivolts; the older place of adc.readvdd33.
---@return integer
function node.readvdd33()
  return require("nodemcu.adc").readvdd33()
end

---Microseconds since the start, and how often their 31 bits ran over.
---@return integer micros, integer overflows
function node.uptime()
  return tmr.now(), math.floor(tmr.time() * 1e6 / 2 ^ 31)
end

-- ---- Starting and stopping ----

---@return integer raw, integer reason
function node.bootreason() return device.boot[1], device.boot[2] end

---Runs the script again in a fresh state, when the callback that calls this is through.
function node.restart()
  world.tell("restart")
  device.power("restart")
end

---Ends the run, or with --awake sleeps and runs the script again. Without a time nothing happens; 0 is for ever.
---@param us integer? microseconds
function node.dsleep(us)
  if us == nil then return end
  us = check.integer(1, "dsleep", us, 0)
  world.tell("dsleep", us)
  device.power("dsleep", us)
end

---@return integer microseconds
function node.dsleepMax() return math.floor(LONGEST_SLEEP) end

-- The settings of the radio are not kept here.
function node.restore() end

local megahertz = node.CPU80MHZ

---@return integer
function node.setcpufreq(value)
  megahertz = check.integer(1, "setcpufreq", value)
  return megahertz
end

---@return integer
function node.getcpufreq() return megahertz end

-- Errors of callbacks end a run here.
function node.setonerror(callback) check.optional_callback(1, "setonerror", callback) end

function node.osprint() end

function node.stripdebug() return 0 end

---A random number in a range.
---@param low integer
---@param high integer?
---@return integer
function node.random(low, high)
  if low == nil then return math.random() end
  if high == nil then low, high = 1, low end
  return math.random(check.integer(1, "random", low), check.integer(2, "random", high))
end

-- ---- Code ----

-- The sources that have been compiled: see nodemcu.file.
device.compiled = {}

---Compiles a script of the file system to one with the ending .lc.
---@param name string
function node.compile(name)
  name = check.string(1, "compile", name)
  local file = require("nodemcu.file")
  local source = file.getcontents(name)
  if not source then device.raise("cannot open " .. name) end
  local chunk, problem = loading.text(source, "@" .. name)
  if not chunk then device.raise(problem) end
  local target = name:match("^(.*)%.lua$")
  if not target then device.raise("not a .lua file") end
  device.compiled[name] = true
  file.putcontents(target .. ".lc", string.dump(chunk))
end

-- There is no flash store.
node.LFS = { list = function() return {} end, get = function() end, reload = function() return "no LFS image" end }

function node.flashindex() return nil, 0, 0, 0 end

---@return string problem
function node.flashreload(name)
  check.string(1, "flashreload", name)
  return "no LFS on this device"
end

---@return table
function node.getpartitiontable()
  return { lfs_addr = 0, lfs_size = 0, spiffs_addr = 0x100000, spiffs_size = FLASH_SIZE - 0x100000 }
end

node.egc = {
  NOT_ACTIVE = 0, ON_ALLOC_FAILURE = 1, ON_MEM_LIMIT = 2, ALWAYS = 4,
  setmode = function() end,
  meminfo = function()
    local used = math.floor(collectgarbage("count") * 1024)
    return used, used
  end,
}

-- ---- Tasks ----

node.task = { LOW_PRIORITY = 0, MEDIUM_PRIORITY = 1, HIGH_PRIORITY = 2 }

local tasks

world.at_reset(function() tasks = { [0] = {}, {}, {} } end)

---Runs a function in the loop: those of higher priority first, otherwise in the order of the calls.
---@param priority integer|fun(priority: integer)
---@param callback fun(priority: integer)?
function node.task.post(priority, callback)
  if type(priority) == "function" then priority, callback = node.task.MEDIUM_PRIORITY, priority end
  priority = check.integer(1, "post", priority, 0, 2)
  table.insert(tasks[priority], check.callback(2, "post", callback))
  device.later(function()
    for level = node.task.HIGH_PRIORITY, node.task.LOW_PRIORITY, -1 do
      local task = table.remove(tasks[level], 1)
      if task then return task(level) end
    end
  end)
end

device.seal("node.task", node.task)
device.seal("node.egc", node.egc)
device.seal("node.LFS", node.LFS)
return device.seal("node", node)
