-- Where a device finds its files and modules, and text that only its Lua takes. `install` puts it into the globals.

-- Some of this is about globals that only some versions have.
-- luacheck: std max, ignore 122

local device = require("nodemcu.device")

local loading = {}

local unpack = rawget(_G, "unpack") or table.unpack
local stock_loadfile, stock_load, stock_load_text = loadfile, load, rawget(_G, "loadstring") or load

-- ---- Text ----

-- The place behind a long bracket that begins here, or nil.
local function behind_long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", at, true)
  return (last or #text) + 1
end

-- Lua 5.1 takes any character behind a backslash for itself; later versions, and LuaJIT, refuse what is no escape
-- sequence. Takes such backslashes out of a chunk's strings.
local function without_idle_backslashes(text)
  local parts, kept = {}, 1
  local at = text:find("[\"'%-%[]")
  while at do
    local quote = text:match("^[\"']", at)
    if quote then
      repeat
        at = text:find("[\\\n" .. quote .. "]", at + 1) or #text
        local escapes = text:sub(at, at) == "\\"
        if escapes then
          if not text:find("^[abfnrtvxzu%d\\\"'\r\n]", at + 1) then
            parts[#parts + 1] = text:sub(kept, at - 1)
            kept = at + 1
          end
          at = at + 1
        end
      until not escapes
      at = at + 1
    elseif text:find("^%-%-", at) then
      at = behind_long_bracket(text, at + 2) or text:find("\n", at, true) or #text + 1
    else
      at = behind_long_bracket(text, at) or at + 1
    end
    at = text:find("[\"'%-%[]", at)
  end
  parts[#parts + 1] = text:sub(kept)
  return table.concat(parts)
end

local function is_about_escapes(problem)
  return type(problem) == "string" and problem:find("invalid escape sequence", 1, true) ~= nil
end

---A chunk, as `loadstring` makes it on the device.
---@param text string
---@param name string?
---@return function? chunk, string? problem
function loading.text(text, name)
  local chunk, problem = stock_load_text(text, name or text)
  if chunk or not is_about_escapes(problem) then return chunk, problem end
  return stock_load_text(without_idle_backslashes(text), name or text)
end

---The chunk of the file at a path, whatever the folders are.
---@param path string
---@param ... any what else loadfile takes
---@return function? chunk, string? problem
function loading.file(path, ...)
  local chunk, problem = stock_loadfile(path, ...)
  if chunk or not is_about_escapes(problem) then return chunk, problem end
  local file = assert(io.open(path, "rb"))
  -- what loadfile does with a first line for the shell
  local text = file:read("*a"):gsub("^#[^\n]*", "")
  file:close()
  return stock_load(without_idle_backslashes(text), "@" .. path, ...)
end

-- ---- Files ----

-- The folders that a name is looked for in: the file system of the device, the current one, that of the script.
local function folders()
  local list, seen = {}, {}
  for _, folder in ipairs { device.root or ".", ".", device.scripts or "." } do
    if not seen[folder] then
      seen[folder] = true
      list[#list + 1] = folder
    end
  end
  return list
end

local function is_there(path)
  local file = io.open(path, "rb")
  -- a folder can be opened, not read
  local readable = file and file:read(0) ~= nil or file and file:seek("end") == 0
  if file then file:close() end
  return readable
end

-- Where the file of that name is in these folders, or nil.
local function find(name, among)
  if name:match("^/FLASH/") then name = name:sub(8) end
  if name:match("^/") then return is_there(name) and name or nil end
  for _, folder in ipairs(among) do
    local place = folder == "." and name or folder .. "/" .. name
    if is_there(place) then return place end
  end
end

---A chunk by the device's rules: /FLASH/NAME is NAME, and NAME.lc is NAME.lua where it is not there, or is not what
---this Lua has compiled. Where there is no such file, nil and no problem.
---@param name string
---@param among string[] folders, in the order in which they are looked through
---@param load fun(path: string, ...: any): function?, string?
---@param ... any what else `load` takes
---@return function? chunk, string? problem
function loading.by_name(name, among, load, ...)
  local place = find(name, among)
  local chunk, problem
  if place then chunk, problem = load(place, ...) end
  if chunk then return chunk end
  local source = name:match("^(.*)%.lc$")
  local beside = source and find(source .. ".lua", among)
  if beside then return load(beside, ...) end
  return nil, problem
end

local function load_by_name(name, ...)
  if type(name) ~= "string" then return stock_loadfile(name, ...) end
  local chunk, problem = loading.by_name(name, folders(), loading.file, ...)
  if chunk or problem then return chunk, problem end
  return stock_loadfile(name, ...)
end

-- ---- Modules ----

-- A searcher of Lua files that takes the text of the device's Lua.
local function tolerant(search)
  return function(name)
    local results = { pcall(search, name) }
    if results[1] then return unpack(results, 2, #results) end
    local problem = results[2]
    local path = is_about_escapes(problem) and problem:match("from file '(.-)'")
    local chunk = path and loading.file(path)
    if not chunk then error(problem, 0) end
    return chunk, path
  end
end

---Has `require` find the parts of a project: beside its files and beside the script.
function loading.extend_path()
  local patterns = {}
  for _, folder in ipairs(folders()) do
    patterns[#patterns + 1] = folder .. "/?.lua"
    patterns[#patterns + 1] = folder .. "/?.lc"
  end
  package.path = table.concat(patterns, ";") .. ";" .. package.path
end

local installed = false

---Puts it into the globals.
---@param rom table<string, table> the device's modules: `require` finds them where there is no file of that name
function loading.install(rom)
  if installed then return end
  installed = true
  _G.loadstring = loading.text
  _G.loadfile = load_by_name
  local stock_dofile = dofile
  function _G.dofile(name)
    if type(name) ~= "string" then return stock_dofile(name) end
    local chunk, problem = load_by_name(name)
    if not chunk then error(problem, 0) end
    return chunk()
  end

  local searchers = package.searchers or package.loaders
  searchers[2] = tolerant(searchers[2])
  -- behind the stock ones
  table.insert(searchers, 5, function(name)
    local module = rom[name]
    return module and function() return module end
  end)
end

return loading
