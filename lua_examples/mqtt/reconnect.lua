-- Trying again: the failure callback sets a timer that connects anew, the pattern that NodeMCU's manual
-- recommends. Nothing listens on the first port, which is what a broker that is down looks like.

local BROKER = "127.0.0.1"
local PORTS = { 1, 1, 1883 }
local RETRY_MS = 100

local m = mqtt.Client("reconnect-" .. node.chipid(), 60)
local attempt = 0
local connect

local function try_again(_, reason)
  print("attempt " .. attempt .. " failed, reason " .. reason)
  tmr.create():alarm(RETRY_MS, tmr.ALARM_SINGLE, connect)
end

local function connected(client)
  print("attempt " .. attempt .. " connected")
  client:close()
end

function connect()
  attempt = attempt + 1
  m:connect(BROKER, PORTS[attempt] or 1883, 0, connected, try_again)
end

connect()
