-- file: reading and writing, the root that no name leads out of, compiled scripts.

local device = require("nodemcu.device")
local nodemcu = require("nodemcu")

-- A folder of its own for each test, with a secret beside it.
local folder, root

local function shell(command)
  local ok = os.execute(command)
  assert(ok == true or ok == 0, command)
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local function read(path)
  local f = io.open(path, "rb")
  local text = f and f:read("*a")
  if f then f:close() end
  return text
end

before_each(function()
  folder = os.tmpname()
  os.remove(folder)
  root = folder .. "/root"
  shell(("mkdir -p '%s'"):format(root))
  write(folder .. "/secret", "secret")
  nodemcu.configure { root = root }
end)

after_each(function()
  file.close()
  shell(("rm -r '%s'"):format(folder))
end)

describe("file", function()
  it("writes and reads whole files", function()
    assert.is_true(file.putcontents("a.bin", "one\0two\r\n\255"))
    assert.are.equal("one\0two\r\n\255", file.getcontents("a.bin"))
    assert.are.equal("one\0two\r\n\255", read(root .. "/a.bin"))
    assert.is_nil(file.getcontents("b.bin"))
    assert.is_true(file.exists("a.bin"))
    assert.is_false(file.exists("b.bin"))
  end)

  it("works in the old style, on the file opened last", function()
    assert.is_truthy(file.open("log.txt", "w"))
    assert.is_true(file.write("one"))
    assert.is_true(file.writeline(" line"))
    assert.is_true(file.writeline("two"))
    assert.is_true(file.flush())
    file.close()
    assert.is_truthy(file.open("log.txt"))
    assert.are.equal("one line\n", file.readline())
    assert.are.equal("two\n", file.readline())
    assert.is_nil(file.readline())
    file.close()
  end)

  it("works with objects, several at once", function()
    local out = file.open("copy.txt", "w")
    file.putcontents("from.txt", "abc")
    local from = file.open("from.txt", "r")
    assert.is_true(out:write(from:read()))
    assert.is_nil(from:read())
    assert.are.equal(1, from:seek("set", 1))
    assert.are.equal("bc", from:read(5))
    from:close()
    out:writeline("")
    out:flush()
    out:close()
    assert.are.equal("abc\n", file.getcontents("copy.txt"))
    assert.has_error(function() out:write("x") end)
  end)

  it("takes an object in the old style's functions", function()
    file.putcontents("x", "12345")
    local object = file.open("x")
    file.open("y", "w")
    assert.are.equal("12", file.read(object, 2))
    file.close(object)
    assert.is_true(file.write("still open"))
  end)

  it("needs an open file", function()
    for _, f in ipairs {
      file.read, file.readline, file.seek, file.flush, function() file.write("x") end,
    } do
      local ok, err = pcall(f)
      assert.is_false(ok)
      assert.matches("open a file first$", err)
    end
    assert.is_nil(file.open("nowhere.txt"))
    assert.has_error(file.read)
    file.close()
  end)

  it("leaves the object open when another file is opened", function()
    file.putcontents("x", "x")
    local first = file.open("x")
    file.open("x")
    file.close()
    assert.are.equal("x", first:read())
  end)

  it("reads 1024 bytes, so many, or up to a character", function()
    file.putcontents("long", ("x"):rep(2000) .. ";tail")
    file.open("long")
    assert.are.equal(1024, #file.read())
    assert.are.equal(977, #file.read(";"))
    assert.are.equal("tail", file.read(2000))
    assert.is_nil(file.read())
    file.seek("set")
    assert.are.equal(2005, #file.read(100000))
    file.seek("set")
    assert.are.equal(1024, #file.readline())
    assert.error_matches(function() file.read("ab") end, "wrong arg range")
  end)

  it("opens as it is told", function()
    local function try(mode, prepare)
      file.remove("f")
      if prepare then file.putcontents("f", "testcontent") end
      local object = file.open("f", mode)
      local position = object and object:seek()
      local wrote = object and object:write("X")
      local can_read = object and object:seek("set") == 0 and object:read() ~= nil
      file.close()
      return object ~= nil, position, wrote, can_read, file.getcontents("f")
    end
    assert.are.same({ false }, { (try("r")) })
    assert.are.same({ true, 0, nil, true, "testcontent" }, { try("r", true) })
    assert.are.same({ true, 0, true, false, "X" }, { try("w", true) })
    assert.are.same({ true, 11, true, false, "testcontentX" }, { try("a", true) })
    assert.are.same({ false }, { (try("r+")) })
    assert.are.same({ true, 0, true, true, "Xestcontent" }, { try("r+", true) })
    assert.are.same({ true, 0, true, true, "X" }, { try("w+", true) })
    assert.are.same({ true, 11, true, true, "testcontentX" }, { try("a+", true) })
    assert.are.same({ true, 0, true, true, "X" }, { try("a+") })
  end)

  it("seeks", function()
    file.putcontents("f", "0123456789")
    local object = file.open("f")
    assert.are.equal(0, object:seek())
    assert.are.equal(4, object:seek("set", 4))
    assert.are.equal(6, object:seek("cur", 2))
    assert.are.equal(8, object:seek("end", -2))
    assert.are.equal("89", object:read())
    assert.are.equal(4, object:seek("set", 4.9))
    assert.are.equal("45", object:read(2.5))
    assert.is_nil(object:seek("set", -1))
    assert.has_error(function() object:seek("middle") end)
  end)

  it("lists names and sizes, also those that match a pattern", function()
    file.putcontents("one.lua", "1")
    file.putcontents("two.txt", "22")
    assert.are.same({ ["one.lua"] = 1, ["two.txt"] = 2 }, file.list())
    assert.are.same({ ["one.lua"] = 1 }, file.list("%.lua$"))
    assert.has_error(function() file.list("%") end)
  end)

  it("takes slashes in names, which are letters on a device", function()
    assert.is_true(file.putcontents("http/img/logo.svg", "<svg/>"))
    assert.are.equal("<svg/>", file.getcontents("http/img/logo.svg"))
    assert.are.same({ ["http/img/logo.svg"] = 6 }, file.list())
    assert.is_false(file.exists("http"))
    assert.is_nil(file.open("http"))
  end)

  it("removes and renames, never onto a file that is there", function()
    file.putcontents("a", "A")
    assert.is_true(file.rename("a", "b"))
    assert.is_false(file.exists("a"))
    assert.is_false(file.rename("a", "c"))
    file.putcontents("a", "new")
    assert.is_false(file.rename("a", "b"))
    assert.are.equal("A", file.getcontents("b"))
    assert.is_nil(file.remove("b"))
    assert.is_nil(file.remove("b"))
    assert.is_false(file.exists("b"))
  end)

  it("tells size, name and time", function()
    file.putcontents("a", "12345678")
    local stat = file.stat("a")
    assert.are.equal(8, stat.size)
    assert.are.equal("a", stat.name)
    assert(stat.time.year >= 2020, stat.time.year)
    assert.is_false(stat.is_dir)
    assert.is_nil(file.stat("b"))
    local remaining, used, total = file.fsinfo()
    assert.are.equal(total, remaining + used)
    assert.are.equal(8, used)
    assert.are.equal("number", type((file.fscfg())))
    assert.is_true(file.chdir("/FLASH"))
    assert.is_false(file.chdir("/SD0"))
  end)

  it("is there for everybody at once, without close", function()
    file.open("part.lua", "w+")
    file.write("return 'written'")
    assert.are.equal("written", dofile("part.lua"))
  end)

  it("never formats", function()
    file.putcontents("precious", "x")
    assert.has_error(function() file.format() end)
    assert.is_true(file.exists("precious"))
  end)

  it("refuses names with NUL", function()
    assert.error_matches(function() file.open("a\0b") end, "bad argument #1 to 'open' %(filename invalid%)")
    assert.has_error(function() file.open() end)
    assert.has_error(function() file.open {} end)
  end)
end)

describe("a script from elsewhere", function()
  -- Tries everything that takes a name.
  local function is_out_of_reach(name)
    for _, mode in ipairs { "r", "w", "a", "r+", "w+", "a+" } do
      assert.is_nil(file.open(name, mode), name .. " " .. mode)
    end
    assert.is_nil(file.getcontents(name), name)
    assert.is_nil(file.putcontents(name, "overwritten"), name)
    assert.is_false(file.exists(name), name)
    assert.is_nil(file.stat(name), name)
    file.remove(name)
    file.putcontents("mine", "mine")
    assert.is_false(file.rename(name, "got-it"), name)
    assert.is_false(file.rename("mine", name), name)
    assert.are.equal("secret", read(folder .. "/secret"))
  end

  it("is not led out by dots", function()
    shell(("mkdir '%s/sub'"):format(root))
    for _, name in ipairs {
      "../secret", "sub/../../secret", "./../secret", "../root/../secret", "..", ".", "sub/..", "/FLASH/../secret",
      "sub/./../../secret", "../", "",
    } do
      is_out_of_reach(name)
    end
  end)

  it("is not led out by absolute paths", function()
    is_out_of_reach(folder .. "/secret")
    is_out_of_reach("//" .. folder .. "/secret")
    is_out_of_reach("/FLASH/" .. folder .. "/secret")
    assert.is_nil(file.getcontents("/etc/passwd"))
  end)

  it("is not led out by links, neither to files nor to folders", function()
    shell(("ln -s ../secret '%s/relative'; ln -s '%s/secret' '%s/absolute'"):format(root, folder, root))
    shell(("ln -s .. '%s/up'; ln -s '%s' '%s/away'; ln -s ../none '%s/dangling'"):format(root, folder, root, root))
    for _, name in ipairs { "relative", "absolute", "up/secret", "away/secret", "up/root/up/secret", "dangling" } do
      is_out_of_reach(name)
    end
    assert.is_nil(read(folder .. "/none"))
    assert.are.same({ mine = 4 }, file.list())
  end)

  it("does not hang on pipes, nor open devices and folders", function()
    shell(("mkfifo '%s/pipe'; mkdir '%s/dir'"):format(root, root))
    is_out_of_reach("pipe")
    is_out_of_reach("dir")
  end)

  it("does not get at the choice of the root", function()
    assert.has_error(function() file.root("/") end)
    assert.matches("not simulated", tostring(file.root))
  end)
end)

describe("the root", function()
  it("has to be a folder", function()
    assert.has_error(function() nodemcu.configure { root = folder .. "/nowhere" } end)
    assert.has_error(function() nodemcu.configure { root = folder .. "/secret" } end)
    assert.is_true(file.putcontents("still", "there"))
  end)

  it("may be a link itself, and /FLASH/ is its name", function()
    shell(("ln -s root '%s/link'"):format(folder))
    nodemcu.configure { root = folder .. "/link" }
    file.putcontents("/FLASH/a", "x")
    assert.are.equal("x", read(root .. "/a"))
    assert.is_true(file.exists("a"))
  end)
end)

describe("node.compile", function()
  local warn

  before_each(function() warn = device.warn end)
  after_each(function() device.warn = warn end)

  it("makes a file that dofile runs", function()
    file.putcontents("part.lua", "answer = (answer or 0) + 42 return ...")
    node.compile("part.lua")
    assert.is_true(file.exists("part.lc"))
    dofile("part.lc")
    assert.are.equal(42, rawget(_G, "answer"))
    rawset(_G, "answer", nil)
  end)

  it("raises what is wrong with a script", function()
    file.putcontents("bad.lua", "if if")
    local ok, err = pcall(node.compile, "bad.lua")
    assert.is_false(ok)
    assert.matches("bad%.lua:1:", err)
    assert.has_error(function() node.compile("nowhere.lua") end)
  end)

  it("keeps the source, which scripts remove then to save flash", function()
    local warning
    function device.warn(text) warning = text end
    file.putcontents("only.lua", "return 1")
    node.compile("only.lua")
    file.remove("only.lua")
    assert.is_true(file.exists("only.lua"))
    assert.matches("only%.lua", warning)
    file.remove("only.lc")
    assert.is_false(file.exists("only.lc"))
    assert.are.equal(1, dofile("only.lc"))
  end)
end)
