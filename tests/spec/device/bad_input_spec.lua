-- Every function of the device's modules with every kind of wrong value in every place: a plain string that names the
-- place, or an answer; the process goes on. The modules that are ours alone are in tests/spec/bad_input_spec.lua.

local mqtt = require("mqtt")
local device = require("nodemcu.device")
local nodemcu = require("nodemcu")
local wrong = require("tests.spec.wrong")

local unpack = rawget(_G, "unpack") or rawget(table, "unpack")

local nop, merge, without, check = wrong.nop, wrong.merge, wrong.without, wrong.check
local BYTES, TABLES, INTEGER, CALLBACK = wrong.BYTES, wrong.TABLES, wrong.INTEGER, wrong.CALLBACK

-- The devices take fractions and negative numbers, and numbers as strings, for whole ones.
local WHOLE = without(INTEGER, "0.5", "-1", "2^32", "2^53", "2^63", "-2^63", "2^64", "1e308", "'-1'")
local OPTIONS = { ["a depth that is no number"] = { depth = {} }, ["a null that is no text"] = { null = {} },
  ["a metatable that is none"] = { metatable = 1 }, ["a depth of NaN"] = { depth = wrong.NAN },
  ["a depth of 0.5"] = { depth = 0.5 } }
local TABLE = merge(without(BYTES, unpack(TABLES)), { ["1"] = 1, ["''"] = "" })

local MODULES = {
  sjson = {
    encode = { { {}, {} }, { TABLE, OPTIONS } },
    decode = { { "[]", {} }, { BYTES, OPTIONS } },
    encoder = { { {}, {} }, { TABLE, OPTIONS } },
    decoder = { { {} }, { OPTIONS } },
  },
  file = {
    open = { { "f", "r" }, { BYTES, BYTES } },
    exists = { { "f" }, { BYTES } },
    remove = { { "f" }, { BYTES } },
    rename = { { "f", "g" }, { BYTES, BYTES } },
    stat = { { "f" }, { BYTES } },
    getcontents = { { "f" }, { BYTES } },
    putcontents = { { "f", "x" }, { BYTES, BYTES } },
  },
  node = {
    dsleep = { { 1 }, { merge(WHOLE, { ["-1"] = -1 }) } },
    setcpufreq = { { 80 }, { WHOLE } },
    setonerror = { { nop }, { CALLBACK } },
    random = { { 1, 2 }, { WHOLE, WHOLE } },
    compile = { { "f.lua" }, { BYTES } },
    flashreload = { { "f" }, { BYTES } },
  },
  rtctime = {
    set = { { 1, 0 }, { merge(WHOLE, { ["-1"] = -1, ["2^32"] = 2 ^ 32, ["2^63"] = 2 ^ 63 }), WHOLE } },
    adjust_delta = { { 0 }, { merge(WHOLE, { ["2^53"] = 2 ^ 53, ["-2^63"] = -2 ^ 63 }) } },
    epoch2cal = { { 0 }, { merge(WHOLE, { ["-1"] = -1, ["2^53"] = 2 ^ 53, ["1e308"] = 1e308 }) } },
    dsleep_aligned = { { 1e6, 1e5 }, { merge(WHOLE, { ["0"] = 0 }), merge(WHOLE, { ["-1"] = -1 }) } },
  },
}

-- What is raised otherwise: it is no argument that is wrong.
local OTHER = {
  "open a file first", "cannot open ", "not a %.lua file", ": unexpected symbol", ": syntax error", "JSON parse error",
  "Incomplete JSON object", "Cannot encode", "cannot be used", "looked into", "open files are too many",
  "is not simulated", "encoder stack overflow", "decode not complete", "calling '%w+' on bad self",
}

-- These wait, read a terminal, or end what calls them.
local LEFT_OUT = { ["node.input"] = true, ["tmr.delay"] = true }

local folder, root, power, printed

before_each(function()
  folder, power, printed = os.tmpname(), device.power, device.warn
  os.remove(folder)
  assert(os.execute(("mkdir '%s'"):format(folder)))
  root = device.root
  nodemcu.configure { root = folder }
  device.power, device.warn = nop, nop
end)

after_each(function()
  device.power, device.warn = power, printed
  nodemcu.configure { root = root }
  nodemcu.sim.reset()
  os.execute(("rm -r '%s'"):format(folder))
  collectgarbage() -- node.heap() counts it
end)

-- Calls what is scheduled, all of it: errors of wrong callbacks come out here, and not in another file's tests.
local function run_callbacks()
  local ok, count
  repeat ok, count = pcall(mqtt.poll, 0.005) until ok and count == 0
end

describe("a wrong value in any place", function()
  for name, set in pairs(MODULES) do
    it("is an error of " .. name, function()
      check(set, nodemcu[name])
      run_callbacks()
    end)
  end

  it("is an error of the methods of what sjson and file return", function()
    local file = assert(nodemcu.file.open("f", "w+"))
    check({
      read = { { 1 }, { without(BYTES, unpack(TABLES)) } },
      write = { { "x" }, { BYTES } },
      writeline = { { "x" }, { BYTES } },
      seek = { { "set", 0 }, { merge(BYTES, { ["x"] = "x" }), without(INTEGER, "0.5", "-1", "'-1'") } },
    }, file, file)
    file:close()
    local decoder, encoder = nodemcu.sjson.decoder(), nodemcu.sjson.encoder({})
    check({ write = { { "[" }, { BYTES } } }, decoder, decoder)
    for _, method in ipairs { decoder.write, decoder.result, encoder.read } do
      for _, self in pairs(merge(wrong.ODD, wrong.BOOLEANS, { ["1"] = 1, ["text"] = "x" })) do
        local ok, message = pcall(method, self, "x")
        assert.is_false(ok)
        assert.matches("on bad self", message)
      end
      assert.is_false(pcall(method))
    end
  end)

  it("is an error of tasks, which then do not run", function()
    local post = nodemcu.node.task.post
    for what, callback in pairs(CALLBACK) do
      local ok, message = pcall(post, 1, callback)
      assert(not ok and message:find("bad argument #2 to 'post' (", 1, true), what)
    end
    for what, priority in pairs(merge(without(WHOLE, "a function"), { ["3"] = 3, ["-1"] = -1 })) do
      local ok, message = pcall(post, priority, nop)
      assert(not ok and message:find("bad argument #1 to 'post' (", 1, true), what)
    end
  end)

  it("never ends the process, hangs it or raises what is no plain string, in any function of any module", function()
    local names = {
      "adc", "bit", "dht", "enduser_setup", "file", "gpio", "i2c", "net", "node", "pwm", "rtcmem", "rtctime", "sjson",
      "sntp", "tls", "uart", "wifi",
    }
    local values = merge(wrong.ODD, wrong.BOOLEANS, wrong.CALLABLE, wrong.INTEGER, wrong.TEXT, {
      ["0"] = 0, ["1"] = 1, ["text"] = "x", ["a list"] = { 1, 2, 3 }, ["another folder"] = "../x",
      ["a function that raises"] = function() error("looked into", 0) end,
      ["odd keys"] = { [nop] = 1, [0.5] = 2, [true] = 3 },
    })
    local failed, calls = {}, 0
    local function try(path, f, ...)
      local ok, message = pcall(f, ...)
      calls = calls + 1
      if ok then return end
      local fits = type(message) == "string" and message:find("bad argument #%d+ to '")
      for _, other in ipairs(OTHER) do fits = fits or type(message) == "string" and message:find(other) end
      if not fits then failed[#failed + 1] = path .. ": " .. tostring(message) end
    end
    local seen = {}
    local function walk(path, module)
      if seen[module] then return end
      seen[module] = true
      for _, name in ipairs(wrong.sorted(module)) do
        local f, full = module[name], path .. "." .. name
        if type(f) == "table" then
          walk(full, f)
        elseif type(f) == "function" and not LEFT_OUT[full] then
          for _, what in ipairs(wrong.sorted(values)) do
            local value = values[what]
            try(full, f, value)
            try(full, f, 1, value)
            try(full, f, "x", value)
            try(full, f, 1, 1, value)
            try(full, f, value, value, value, value)
          end
          run_callbacks()
        end
      end
    end
    for _, name in ipairs(names) do walk(name, nodemcu[name]) end
    assert(#failed == 0, table.concat(failed, "\n"))
    assert(calls > 20000, calls)
  end)
end)
