-- sjson: encoding and decoding, also piece by piece.

require("nodemcu")

local function fails(pattern, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.are.equal("string", type(err))
  assert.matches(pattern, err)
end

describe("sjson.encode", function()
  it("writes objects and arrays", function()
    assert.are.equal('{"a":1}', sjson.encode { a = 1 })
    assert.are.equal('[1,"two",true,false]', sjson.encode { 1, "two", true, false })
    assert.are.equal('[[],[{"x":[1]}]]', sjson.encode { {}, { { x = { 1 } } } })
    assert.are.equal("[]", sjson.encode {})
  end)

  it("takes a table for an array when all keys are positive integers, gaps are null", function()
    assert.are.equal("[null,2,null,4]", sjson.encode { [2] = 2, [4] = 4 })
    assert.are.equal('{"0":1}', sjson.encode { [0] = 1 })
    assert.are.equal('{"-1":1}', sjson.encode { [-1] = 1 })
    assert.are.equal('{"1.5":1}', sjson.encode { [1.5] = 1 })
    assert.are.equal('{"1000000000":1}', sjson.encode { [1000000000] = 1 })
  end)

  it("writes numbers as the device's Lua does", function()
    assert.are.equal("[0,-5,1.5,0.1,5,123456789012]", sjson.encode { 0, -5, 1.5, 0.1, 10 / 2, 123456789012 })
    assert.are.equal("[0.3,1e+20]", sjson.encode { 0.1 + 0.2, 1e20 })
    fails("Cannot encode", sjson.encode, { 0 / 0 })
    fails("Cannot encode", sjson.encode, { 1 / 0 })
  end)

  it("escapes what has to be, and leaves other bytes as they are", function()
    assert.are.equal('["\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\127"]', sjson.encode { '"\\/\b\f\n\r\t\0\31\127' })
    assert.are.equal('["é\255x"]', sjson.encode { "é\255x" })
    assert.are.equal('{"a\\"b":1}', sjson.encode { ['a"b'] = 1 })
  end)

  it("writes userdata as null", function()
    assert.are.equal("[null,null]", sjson.encode { sjson.NULL, io.stdout })
  end)

  it("writes a string of the options as null", function()
    assert.are.equal('[null,"b"]', sjson.encode({ "\0", "b" }, { null = "\0" }))
  end)

  it("calls functions and writes what they return", function()
    local calls = 0
    local function value()
      calls = calls + 1
      return { calls }
    end
    assert.are.equal('[[1],"x",null]', sjson.encode { value, function() return function() return "x" end end, print })
    local err = { "own" }
    local ok, got = pcall(sjson.encode, { function() error(err) end })
    assert.is_false(ok)
    assert.are.equal(err, got)
  end)

  it("takes tables only, and refuses what has no JSON", function()
    fails("bad argument #1 to 'encode' %(table expected, got ", sjson.encode, "x")
    fails("bad argument #1 to 'encode' %(table expected, got no value%)", sjson.encode)
    fails("Cannot encode type 8", sjson.encode, { coroutine.create(print) })
    fails("Cannot encode type 1", sjson.encode, { [true] = 1, x = 2 })
    local function itself() return itself end
    fails("Cannot encode type 6", sjson.encode, { itself })
  end)

  it("goes as deep as it is told, 20 by default", function()
    local function nested(levels)
      local t = {}
      for _ = 2, levels do t = { t } end
      return t
    end
    assert.are.equal(("["):rep(20) .. ("]"):rep(20), sjson.encode(nested(20)))
    fails("encoder stack overflow", sjson.encode, nested(21))
    assert.are.equal(60, #sjson.encode(nested(30), { depth = 30 }))
    fails("encoder stack overflow", sjson.encode, nested(5), { depth = 1 })
    assert.are.equal(8, #sjson.encode(nested(4), { depth = 1 }))
    local circle = {}
    circle[1] = circle
    fails("encoder stack overflow", sjson.encode, circle, { depth = 1000 })
  end)
end)

describe("sjson.encoder", function()
  it("gives the text in pieces", function()
    local encoder = sjson.encoder { "one", "two" }
    assert.are.equal('["one', encoder:read(5))
    assert.are.equal('","two"]', encoder:read())
    assert.is_nil(encoder:read())
    assert.is_nil(encoder:read(1))
  end)

  it("gives 1024 bytes at once unless told otherwise", function()
    local encoder = sjson.encoder { ("x"):rep(2000) }
    assert.are.equal(1024, #encoder:read())
    assert.are.equal(980, #encoder:read(5000))
  end)

  it("checks what it gets at once, and calls functions when it is read", function()
    fails("table expected", sjson.encoder, 5)
    local called = false
    local encoder = sjson.encoder { function() called = true end }
    assert.is_false(called)
    assert.are.equal("[null]", encoder:read())
    assert.is_true(called)
    fails("calling 'read' on bad self", encoder.read, {})
  end)
end)

describe("sjson.decode", function()
  it("reads objects and arrays", function()
    assert.are.same({ a = { 1, 2, { b = "c" } }, d = true, e = false }, sjson.decode(
      ' {"a" : [1, 2, {"b":"c"}],\n "d":true, "e":false} '))
    assert.are.same({}, sjson.decode("[]"))
    assert.are.same({}, sjson.decode("{}"))
  end)

  it("reads numbers", function()
    local t = sjson.decode("[0, -5, 1.5, 1e3, 123456789012, 0.1, 1E-2, 12345678901234567890]")
    assert.are.same({ 0, -5, 1.5, 1000, 123456789012, 0.1, 0.01 }, { unpack(t, 1, 7) })
    assert(math.abs(t[8] - 1.2345678901235e19) < 1e10)
    assert.are.equal("5", tostring(sjson.decode("[5]")[1]))
  end)

  it("reads strings with escapes, and bytes that are no UTF-8", function()
    assert.are.same({ '"\\/\b\f\n\r\té€😀', "" }, sjson.decode(
      '["\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00", ""]'))
    assert.are.same({ ["k\255"] = "\200é\0" }, sjson.decode('{"k\255":"\200é\\u0000"}'))
  end)

  it("reads null as sjson.NULL, or as a string of the options", function()
    assert.are.equal(sjson.NULL, sjson.decode("[null]")[1])
    assert.are.equal(sjson.NULL, sjson.decode('{"a":null}', {}).a)
    assert.are.equal("none", sjson.decode("[null]", { null = "none" })[1])
    local t = sjson.decode("[1,null,3]")
    assert.are.equal(3, #t)
    assert.are.equal("[1,null,3]", sjson.encode(t))
  end)

  it("takes the last of equal keys", function()
    assert.are.equal(2, sjson.decode('{"a":1,"a":2}').a)
  end)

  it("ignores what follows", function()
    assert.are.same({ 1 }, sjson.decode("[1] and more"))
  end)

  it("raises errors as the device does", function()
    for _, text in ipairs { "[1,]", '{"a"}', "{a:1}", "[01]", "[tru]", '["\\x"]', "[1 2]", "{]", '["a\nb"]' } do
      fails("JSON parse error: ", sjson.decode, text)
    end
    for _, text in ipairs { "[1,2", '{"a":', '["abc', "[[1]", "", "  " } do
      fails("Incomplete JSON object passed to sjson.decode", sjson.decode, text)
    end
    for _, text in ipairs { "1", '"a"', "null", "hello", "]" } do fails("JSON parse error: ", sjson.decode, text) end
    fails("bad argument #1 to 'decode' %(string expected, got no value%)", sjson.decode)
    fails("bad argument #1 to 'decode' %(string expected, got table%)", sjson.decode, {})
  end)

  it("goes as deep as it is told, 20 by default", function()
    local function nested(levels) return ("["):rep(levels) .. ("]"):rep(levels) end
    assert.are.equal("table", type(sjson.decode(nested(19))))
    fails("LEVELS_EXCEEDED", sjson.decode, nested(20))
    fails("LEVELS_EXCEEDED", sjson.decode, ("["):rep(19) .. "1" .. ("]"):rep(19))
    assert.are.equal("table", type(sjson.decode(nested(900), { depth = 1000 })))
    fails("LEVELS_EXCEEDED", sjson.decode, nested(100000), { depth = 1000 })
  end)

  it("reverses encode", function()
    local value = { a = { 1, 2.5, "x\n\"é" }, b = { c = true }, n = -7 }
    assert.are.same(value, sjson.decode(sjson.encode(value)))
  end)
end)

describe("sjson.decoder", function()
  it("takes the text in pieces", function()
    local decoder = sjson.decoder()
    assert.is_nil(decoder:write("[10, 1"))
    fails("decode not complete", decoder.result, decoder)
    assert.is_nil(decoder:write("1"))
    local result = decoder:write(', "foo"]')
    assert.are.same({ 10, 11, "foo" }, result)
    assert.are.equal(result, decoder:result())
    assert.are.equal(result, decoder:write("more"))
  end)

  it("takes it byte by byte", function()
    local text = '{"a":[-1.5e+2,"]\\"}",{"b":null}],"c":"\\u00e9é"} rest'
    local decoder = sjson.decoder()
    for n = 1, #text do decoder:write(text:sub(n, n)) end
    assert.are.same({ a = { -150, ']"}', { b = sjson.NULL } }, c = "éé" }, decoder:result())
  end)

  it("cannot be used after an error", function()
    local decoder = sjson.decoder()
    fails("JSON parse error: ", decoder.write, decoder, "[1,,")
    fails("JSON parse error: previous call", decoder.write, decoder, "1]")
    fails("decode not complete", decoder.result, decoder)
    fails("calling 'write' on bad self", decoder.write, {}, "x")
  end)

  it("is not slow with a large text in small pieces", function()
    local decoder = sjson.decoder()
    local begun = os.clock()
    decoder:write("[")
    for _ = 1, 20000 do decoder:write('"0123456789", ') end
    assert.are.equal(20001, #decoder:write("0]"))
    assert(os.clock() - begun < 5)
  end)
end)

describe("the metatable of a decoder's tables", function()
  it("is that of all tables, and gets each value", function()
    local log = {}
    local meta = {
      __newindex = function(t, k, v)
        log[#log + 1] = k
        rawset(t, k, v)
      end,
    }
    local t = sjson.decode('[1, 2, {"foo": "bar"}]', { metatable = meta })
    assert.are.equal(meta, getmetatable(t))
    assert.are.equal(meta, getmetatable(t[3]))
    assert.are.same({ 1, 2, 3, "foo" }, log)
    assert.are.equal("bar", t[3].foo)
  end)

  it("can leave values out", function()
    local meta = {
      __newindex = function(t, k, v)
        if k ~= "secret" then rawset(t, k, v) end
      end,
    }
    local t = sjson.decode('{"secret":1,"open":{"secret":2,"x":3}}', { metatable = meta })
    assert.is_nil(t.secret)
    assert.is_nil(t.open.secret)
    assert.are.equal(3, t.open.x)
  end)

  it("is asked about each table by its path", function()
    local paths = {}
    local t = sjson.decode('{"foo": [1, 2, []], "no": {"deep": {}}, "end": [[7]]}', {
      metatable = {
        checkpath = function(tab, path)
          assert.are.equal("table", type(tab))
          local text = table.concat(path, "/")
          paths[#paths + 1] = text
          return text ~= "no"
        end,
      },
    })
    assert.are.same({ "", "foo", "foo/3", "no", "no/deep", "end", "end/1" }, paths)
    assert.is_nil(t.no)
    assert.are.equal(2, t.foo[2])
    assert.are.equal(7, t["end"][1][1])
  end)

  it("lets errors of its functions through", function()
    local err = { "own" }
    local ok, got = pcall(sjson.decode, "[1]", { metatable = { __newindex = function() error(err) end } })
    assert.is_false(ok)
    assert.are.equal(err, got)
    ok, got = pcall(sjson.decode, "[1]", { metatable = { checkpath = function() error(err) end } })
    assert.is_false(ok)
    assert.are.equal(err, got)
    fails("bad argument #2 to 'decode'", sjson.decode, "[1]", { metatable = 5 })
  end)
end)
