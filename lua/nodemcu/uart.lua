-- `uart`: number 0 is the console and writes to standard output; the others are silent. `sim.uart` is the other end.

local device = require("nodemcu.device")
local world = require("nodemcu.sim")
local check, sim = device.check, world.sim

---@class nodemcu.uart
local uart = {
  PARITY_NONE = 0, PARITY_EVEN = 1, PARITY_ODD = 2,
  STOPBITS_1 = 1, STOPBITS_1_5 = 2, STOPBITS_2 = 3,
  FLOWCTRL_NONE = 0, FLOWCTRL_CTS = 1, FLOWCTRL_RTS = 2,
}

local LAST = 2
-- What is received comes in pieces of at most this, whoever waits for it.
local BUFFER = 255
-- What was written and not taken by sim.uart: more is forgotten.
local KEPT = 4096

local ports

world.at_reset(function() ports = {} end)

local function port(id)
  ports[id] = ports[id] or { settings = { 115200, 8, uart.PARITY_NONE, uart.STOPBITS_1 }, written = "", received = "" }
  return ports[id]
end

---@return integer baud
function uart.setup(id, baud, databits, parity, stopbits)
  id = check.integer(1, "setup", id, 0, LAST)
  baud = check.integer(2, "setup", baud, 1)
  databits = check.integer(3, "setup", databits, 5, 8)
  parity = check.integer(4, "setup", parity, 0, 2)
  -- a table of pins may follow on the ESP32
  stopbits = check.integer(5, "setup", stopbits, 1, 3)
  port(id).settings = { baud, databits, parity, stopbits }
  return baud
end

---@return integer baud, integer databits, integer parity, integer stopbits
function uart.getconfig(id)
  local it = port(check.integer(1, "getconfig", id, 0, LAST)).settings
  return it[1], it[2], it[3], it[4]
end

---Writes strings, and numbers as bytes.
function uart.write(id, ...)
  id = check.integer(1, "write", id, 0, LAST)
  local it = port(id)
  for n = 1, select("#", ...) do
    local value = select(n, ...)
    if type(value) == "number" then
      value = string.char(check.integer(n + 1, "write", value, 0, 255))
    end
    value = check.string(n + 1, "write", value)
    it.written = (it.written .. value):sub(-KEPT)
    if id == 0 then io.stdout:write(value) end
    world.tell("uart", id, value)
  end
  if id == 0 then io.stdout:flush() end
end

-- Hands out what was received: up to a byte, so many bytes, or whatever there is.
local function deliver(it)
  while it.callback and #it.received > 0 do
    local last
    if type(it.delimiter) == "string" then
      last = it.received:find(it.delimiter, 1, true) or #it.received >= BUFFER and BUFFER
    elseif it.delimiter > 0 then
      last = #it.received >= it.delimiter and it.delimiter
    else
      last = math.min(#it.received, BUFFER)
    end
    if not last then return end
    local data = it.received:sub(1, last)
    it.received = it.received:sub(last + 1)
    it.callback(data)
  end
end

---Sets what runs when data has come: on([id,] "data"[, count or delimiter][, callback[, run_input]]). Without a
---callback: nothing.
function uart.on(...)
  local arguments, count = { ... }, select("#", ...)
  local first = 1
  local id = 0
  if type(arguments[1]) == "number" then id, first = check.integer(1, "on", arguments[1], 0, LAST), 2 end
  local event = arguments[first]
  if event ~= "data" and event ~= "error" then
    device.raise(("bad argument #%d to 'on' (data or error expected, got %s)"):format(first, tostring(event)))
  end
  local delimiter, callback = 0, nil
  for n = first + 1, count do
    local value = arguments[n]
    if type(value) == "function" then
      callback = value
      break
    elseif type(value) == "string" then
      if #value ~= 1 then device.raise("wrong arg range") end
      delimiter = value
    elseif type(value) == "number" then
      delimiter = check.integer(n, "on", value, 0, BUFFER)
    end
  end
  if event == "error" then return end
  local it = port(id)
  it.delimiter, it.callback = delimiter, callback
  if callback and #it.received > 0 then device.later(function() deliver(it) end) end
end

-- Other pins for UART 0.
function uart.alt(on) check.integer(1, "alt", on, 0, 1) end

-- The ESP32 starts its ports before it reads.
function uart.start(id)
  check.integer(1, "start", id, 0, LAST)
  return true
end

function uart.stop(id) check.integer(1, "stop", id, 0, LAST) end

function uart.setmode(id) check.integer(1, "setmode", id, 0, LAST) end

---The other end of a line: sends data to the script, which get there in the loop. Without data: takes what the script
---has written.
---@param id integer
---@param data string?
---@return string? written
function sim.uart(id, data)
  local it = port(check.integer(1, "uart", id, 0, LAST))
  if data == nil then
    local written = it.written
    it.written = ""
    return written
  end
  it.received = it.received .. check.string(2, "uart", data)
  device.later(function() deliver(it) end)
end

return device.seal("uart", uart)
