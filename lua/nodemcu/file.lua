-- `file`: a folder of the host as the device's file system. Opening, reading and writing are native
-- (`src/lua/nodemcu/file`), which keeps names inside of the folder; what builds on them stands here.

local device = require("nodemcu.device")
local native = require("mqtt.file")
local check = device.check

---@class nodemcu.file
---@field open fun(name: string, mode: string?): nodemcu.file.object?
---@field close fun(object: nodemcu.file.object?)
---@field read fun(count_or_char: (integer|string)?): string?
---@field readline fun(): string?
---@field write fun(text: string): true?
---@field writeline fun(text: string): true?
---@field seek fun(whence: ("set"|"cur"|"end")?, offset: integer?): integer?
---@field flush fun(): true?
---@field exists fun(name: string): boolean
---@field rename fun(from: string, to: string): boolean
---@field getcontents fun(name: string): string?
---@field putcontents fun(name: string, text: string): true?
local file = {}

---@class nodemcu.file.object
---@field close fun(self: nodemcu.file.object)
---@field read fun(self: nodemcu.file.object, count_or_char: (integer|string)?): string?
---@field readline fun(self: nodemcu.file.object): string?
---@field write fun(self: nodemcu.file.object, text: string): true?
---@field writeline fun(self: nodemcu.file.object, text: string): true?
---@field seek fun(self: nodemcu.file.object, whence: ("set"|"cur"|"end")?, offset: integer?): integer?
---@field flush fun(self: nodemcu.file.object): true?

for _, name in ipairs {
  "open", "close", "read", "readline", "write", "writeline", "seek", "flush", "exists", "rename", "getcontents",
  "putcontents",
} do
  file[name] = native[name]
end

-- What a script believes to have left.
local REMAINING = 2 * 1024 * 1024

---Removes a file. The source of a script that was compiled in this run stays: devices remove it to save flash, here it
---may be the only one.
---@param name string
function file.remove(name)
  name = check.string(1, "remove", name)
  if device.compiled and device.compiled[name] and native.exists(name) then
    device.warn(("file.remove: %s is the source of a script that was compiled, it stays"):format(name))
    return
  end
  native.remove(name)
end

---All files with their sizes, or those whose names match a Lua pattern.
---@param pattern string?
---@return table<string, integer>
function file.list(pattern)
  local all = native.list()
  if pattern == nil then return all end
  pattern = check.string(1, "list", pattern)
  local some = {}
  for name, size in pairs(all) do
    if name:match(pattern) then some[name] = size end
  end
  return some
end

---@return table?
function file.stat(name)
  local size, modified = native.stat(check.string(1, "stat", name))
  if not size then return nil end
  local date = os.date("!*t", modified)
  return {
    name = name, size = size,
    time = { year = date.year, mon = date.month, day = date.day, hour = date.hour, min = date.min, sec = date.sec },
    is_dir = false, is_rdonly = false, is_hidden = false, is_sys = false, is_arch = false,
  }
end

---@return integer remaining, integer used, integer total
function file.fsinfo()
  local used = 0
  for _, size in pairs(native.list()) do used = used + size end
  return REMAINING, used, used + REMAINING
end

---@return integer address, integer size
function file.fscfg()
  return 0x100000, 0x300000
end

-- There is one drive.
---@return boolean
function file.chdir(name)
  return check.string(1, "chdir", name):match("^/FLASH/?$") ~= nil
end

-- Asks for the time, where files have one: the host's is right.
function file.on(event, callback)
  if event ~= "rtc" then device.raise(("bad argument #1 to 'on' (invalid option '%s')"):format(tostring(event))) end
  check.optional_callback(2, "on", callback)
end

-- file.format would remove everything in the folder: like what else is missing, it raises an error.
return device.seal("file", file)
