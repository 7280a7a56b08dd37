-- A relay with a button. What it is told stands in <base>/set (on, off, toggle), what it is in <base>/state, and
-- whether it is there at all in <base>/status: "online", or "offline", which the broker says for it when it is lost.
-- State and status are retained.

local BROKER = "broker.local"
local RELAY_PIN = 1
local BUTTON_PIN = 3
local DEBOUNCE_US = 200 * 1000
local RETRY_MS = 1000

local ID = ("relay-%06x"):format(node.chipid())
local BASE = "home/" .. ID

local client = mqtt.Client(ID, 30)
local is_connected = false
local is_on = false

local function tell()
  if is_connected then client:publish(BASE .. "/state", is_on and "on" or "off", 1, 1) end
end

local function switch(on)
  is_on = on
  gpio.write(RELAY_PIN, on and gpio.HIGH or gpio.LOW)
  tell()
end

local COMMANDS = {
  on = function() switch(true) end,
  off = function() switch(false) end,
  toggle = function() switch(not is_on) end,
}

gpio.mode(RELAY_PIN, gpio.OUTPUT)
gpio.write(RELAY_PIN, gpio.LOW)

-- The button pulls its pin low, and bounces.
local last_press = -DEBOUNCE_US
gpio.mode(BUTTON_PIN, gpio.INT, gpio.PULLUP)
gpio.trig(BUTTON_PIN, "down", function(_, when)
  if when - last_press < DEBOUNCE_US then return end
  last_press = when
  switch(not is_on)
end)

local connect

local function try_again()
  is_connected = false
  tmr.create():alarm(RETRY_MS, tmr.ALARM_SINGLE, connect)
end

local function connected()
  is_connected = true
  client:publish(BASE .. "/status", "online", 1, 1)
  client:subscribe(BASE .. "/set", 1, tell)
end

function connect()
  client:connect(BROKER, 1883, 0, connected, try_again)
end

client:lwt(BASE .. "/status", "offline", 1, 1)
client:on("offline", try_again)
client:on("message", function(_, _, data)
  local command = COMMANDS[data]
  if command then command() end
end)

connect()
