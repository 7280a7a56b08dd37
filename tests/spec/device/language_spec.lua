-- The device's Lua where the interpreter's is newer, and where files and modules are found.

require("nodemcu")

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
    assert.are.equal("3", ("%d"):format("3.7"))
  end)

  it("cuts fractions off where a whole number is wanted", function()
    assert.are.equal("ell", ("hello"):sub(2.9, 4.5))
    assert.are.equal("l", ("hello"):sub(-2.5, -2.1))
    assert.are.equal(101, ("hello"):byte(2.5))
    assert.are.equal("A!", string.char(65.5, 33))
    assert.are.equal("ababab", ("ab"):rep(3.3))
    assert.are.equal("a-a", ("a"):rep(2.5, "-"):gsub("aa", "a-a"))
    assert.are.equal(5, (("a,b,c"):find("c", 2.5)))
    assert.are.equal("c", ("a,b,c"):match("%a", 4.5))
    assert.are.equal("2,3", table.concat({ 1, 2, 3 }, ",", 2.5))
    local random = math.random(2.5)
    assert(random == 1 or random == 2, random)
    assert.are.equal("1970", os.date("!%Y", 1.5))
  end)

  it("takes any character behind a % in a replacement", function()
    assert.are.equal("21.5", (("21,5"):gsub(",", "%.")))
    assert.are.equal("a%20[ ]b", (("a b"):gsub(" ", "%%20[%0]")))
    assert.are.equal("b=a", (("a=b"):gsub("(%a)=(%a)", "%2=%1")))
    local object = { "an error" }
    local ok, err = pcall(string.gsub, "a", "a", function() error(object) end)
    assert.are.same({ false, object }, { ok, err })
  end)

  it("says where the script made a mistake", function()
    for text, f in pairs {
      ["bad argument #2 to 'format' %(number expected, got string%)"] = function() string.format("%d", "x") end,
      ["bad argument #1 to 'sub' %(string expected, got nil%)"] = function() string.sub(nil, 1.5) end,
      ["bad argument #1 to 'gsub' %(string expected, got table%)"] = function() string.gsub({}, "a", "b") end,
    } do
      local ok, err = pcall(f)
      assert.is_false(ok)
      assert.matches("language_spec%.lua:%d+: " .. text, err)
    end
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
    assert.has_error(function() setfenv(string.upper, {}) end)
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
