-- Where a device finds its files and modules, and text that only its Lua takes.

local loading = require("nodemcu.loading")
local device = require("nodemcu.device")
local nodemcu = require("nodemcu")

describe("dofile, loadfile and require", function()
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
    loading.extend_path()
    assert.are.equal(mqtt, require("mqtt"))
    package.path = path
  end)

  it("let require find the parts", function()
    write("scripts/spec_part.lua", "return { 'part' }")
    local path = package.path
    loading.extend_path()
    assert.are.same({ "part" }, require("spec_part"))
    package.path = path
    package.loaded.spec_part = nil
  end)

  it("run functions that take what they are given", function()
    write("scripts/args.lua", "return select('#', ...), ...")
    assert.are.same({ 2, "a", "b" }, { loadfile("args.lua")("a", "b") })
  end)

  it("take a backslash before any character, as Lua 5.1 does", function()
    write("scripts/idle.lua", [==[#!/usr/bin/env lua
      -- "\= in a comment" --[[ "\=" ]] return "never"
      --[=[ ]] "\= ]=] local long = [[\=]]
      local s = { '([^\=]+)', "\/\\\"\'\65\n", 'it\'s', "a\
b" }
      s[5] = long
      return s
    ]==])
    local expected = { "([^=]+)", "/\\\"'A\n", "it's", "a\nb", "\\=" }
    assert.are.same(expected, dofile("idle.lua"))
    assert.are.same(expected, loadfile("idle.lua")())
    local path = package.path
    loading.extend_path()
    assert.are.same(expected, require("idle"))
    package.path = path
    package.loaded.idle = nil
    assert.are.equal("=", loadstring("return '\\='")())
    assert.matches("here:1:", (select(2, loadstring("if '\\=' if", "=here"))))
  end)

  it("tell the line of what is wrong in such a file", function()
    write("scripts/idle.lua", "local s = '\\='\nreturn if")
    assert.matches("idle%.lua:2:", (select(2, loadfile("idle.lua"))))
    local path = package.path
    loading.extend_path()
    local ok, err = pcall(require, "idle")
    package.path = path
    assert.is_false(ok)
    assert.matches("idle%.lua:[12]:", err) -- Lua 5.1 itself takes the first line
  end)
end)

describe("require", function()
  it("returns the modules of the device, like the globals", function()
    for name, module in pairs { cjson = cjson, node = node, tmr = tmr, file = file, mqtt = mqtt, http = http } do
      assert.are.equal(module, require(name))
    end
  end)

  it("prefers a file of that name", function()
    local stock = package.path
    local folder = os.tmpname()
    os.remove(folder)
    os.execute(("mkdir '%s'"):format(folder))
    local f = assert(io.open(folder .. "/dht.lua", "w"))
    f:write("return 'own'")
    f:close()
    package.path = folder .. "/?.lua;" .. stock
    local own = require("dht")
    package.path, package.loaded.dht = stock, nil
    os.execute(("rm -r '%s'"):format(folder))
    assert.are.equal("own", own)
    assert.are.equal(dht, require("dht"))
    package.loaded.dht = nil
  end)
end)
