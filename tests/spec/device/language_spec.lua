-- The device's Lua where the interpreter's is newer, and where files are found.

local language = require("nodemcu.language")
local device = require("nodemcu.device")
local nodemcu = require("nodemcu")

describe("the device's Lua", function()
  it("has loadstring and unpack", function()
    assert.are.equal(7, loadstring("return 3 + 4")())
    assert.is_nil((loadstring("if if")))
    assert.matches("here:1:", (select(2, loadstring("if if", "=here"))))
    assert.are.same({ 1, nil, 3 }, { unpack({ 1, nil, 3 }, 1, 3) })
  end)

  it("has what became of table and math", function()
    assert.are.equal(3, table.getn { 1, 2, 3 })
    assert.are.equal(9, table.maxn { 1, [9] = 1 })
    assert.are.equal(8, math.pow(2, 3))
    assert.are.equal(2, math.log10(100))
    assert.are.equal(12, math.ldexp(1.5, 3))
    assert.are.same({ 0.75, 3 }, { math.frexp(6) })
    local log = {}
    table.foreachi({ "a", "b" }, function(n, value) log[n] = value end)
    table.foreach({ x = 1 }, function(key) log[#log + 1] = key end)
    assert.are.same({ "a", "b", "x" }, log)
  end)

  it("cuts fractions off for %d", function()
    assert.are.equal("21 -3 5 15% x", ("%d %d %i %d%% %s"):format(21.9, -3.7, 5, 15.5, "x"))
    assert.are.equal("ff 007 3.50", string.format("%x %03d %.2f", 255.5, 7.9, 3.5))
    assert.has_error(function() return ("%d"):format("x") end)
  end)
end)

describe("setfenv", function()
  it("changes the globals of a function", function()
    local f = loadstring("found = 5 return found, tostring")
    local environment = {}
    assert.are.equal(f, setfenv(f, environment))
    assert.are.same({ 5 }, { f() })
    assert.are.same({ found = 5 }, environment)
    assert.are.equal(environment, getfenv(f))
    assert.is_nil(rawget(_G, "found"))
  end)

  it("changes those of the running one, as modules do it", function()
    local chunk = loadstring([[
      local M = {}
      local G = getfenv(1)
      setfenv(1, M)
      function greet() return "hello" end
      level = 1
      return M, G
    ]])
    local before = getfenv(chunk)
    local M, G = chunk()
    assert.are.equal("hello", M.greet())
    assert.are.equal(1, M.level)
    assert.are.equal(before, G)
    assert.is_nil(rawget(_G, "greet"))
  end)

  it("leaves functions made before alone", function()
    local chunk = loadstring([[
      local function before() return value end
      setfenv(1, { value = "new" })
      local function after() return value end
      return before, after
    ]])
    setfenv(chunk, { value = "old", setfenv = setfenv })
    local before, after = chunk()
    assert.are.equal("old", before())
    assert.are.equal("new", after())
  end)

  it("says what is wrong", function()
    assert.has_error(function() setfenv(string.rep, {}) end)
    assert.has_error(function() setfenv(99, {}) end)
  end)
end)

describe("module", function()
  it("makes a module of what a file defines", function()
    local chunk = loadstring([[
      module("spec_module", package.seeall)
      function twice(x) return type(x) == "number" and x * 2 end
    ]])
    chunk()
    local it = require("spec_module")
    assert.are.equal(8, it.twice(4))
    assert.are.equal("spec_module", it._NAME)
    assert.is_nil(rawget(_G, "twice"))
    package.loaded.spec_module = nil
    rawset(_G, "spec_module", nil)
  end)
end)

describe("dofile and loadfile", function()
  local folder, root, scripts

  local function write(name, text)
    local f = assert(io.open(folder .. "/" .. name, "wb"))
    f:write(text)
    f:close()
  end

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    os.execute(("mkdir -p '%s/flash' '%s/scripts'"):format(folder, folder))
    root, scripts = device.root, device.scripts
    nodemcu.configure { root = folder .. "/flash" }
    device.scripts = folder .. "/scripts"
  end)

  after_each(function()
    nodemcu.configure { root = root }
    device.scripts = scripts
    os.execute(("rm -r '%s'"):format(folder))
  end)

  it("find files in the file system of the device and beside the script", function()
    write("flash/a.lua", "return 'flash'")
    write("scripts/a.lua", "return 'scripts'")
    write("scripts/b.lua", "return 'beside'")
    assert.are.equal("flash", dofile("a.lua"))
    assert.are.equal("flash", dofile("/FLASH/a.lua"))
    assert.are.equal("beside", dofile("b.lua"))
    assert.are.equal("beside", loadfile("b.lua")())
  end)

  it("take NAME.lua for NAME.lc where that is missing", function()
    write("scripts/part.lua", "return 'source'")
    assert.are.equal("source", dofile("part.lc"))
    assert.are.equal("source", loadfile("part.lc")())
  end)

  it("take NAME.lua for a NAME.lc that another Lua has made", function()
    write("scripts/part.lua", "return 'source'")
    write("scripts/part.lc", "\27LuaQ\0\1\4\4\4\4\0 of an ESP8266")
    assert.are.equal("source", dofile("part.lc"))
  end)

  it("raise and return what is wrong", function()
    write("scripts/bad.lua", "if if")
    local ok, err = pcall(dofile, "bad.lua")
    assert.is_false(ok)
    assert.matches("bad%.lua:1:", err)
    local chunk, problem = loadfile("nowhere.lc")
    assert.is_nil(chunk)
    assert.matches("nowhere%.lc", problem)
    assert.has_error(function() dofile("nowhere.lua") end)
  end)

  it("load a project's mqtt.lua, which does not hide the module", function()
    write("scripts/mqtt.lua", "return 'the project\\'s own'")
    assert.are.equal("the project's own", dofile("mqtt.lua"))
    local path = package.path
    language.extend_path()
    assert.are.equal(mqtt, require("mqtt"))
    package.path = path
  end)

  it("let require find the parts", function()
    write("scripts/spec_part.lua", "return { 'part' }")
    local path = package.path
    language.extend_path()
    assert.are.same({ "part" }, require("spec_part"))
    package.path = path
    package.loaded.spec_part = nil
  end)

  it("run functions that take what they are given", function()
    write("scripts/args.lua", "return select('#', ...), ...")
    assert.are.same({ 2, "a", "b" }, { loadfile("args.lua")("a", "b") })
  end)
end)
