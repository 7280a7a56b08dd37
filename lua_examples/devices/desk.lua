-- The desk that the devices of this folder stand on: give it to the runner with --env. It sets what sensors read and
-- shows what outputs do.

-- A day in a minute: 15 to 25 degrees, more humid when it is cold.
sim.dht(4, function()
  local degrees = 20 + 5 * math.sin(tmr.now() / 1e6 * 2 * math.pi / 60)
  return math.floor(degrees * 10 + 0.5) / 10, math.floor(90 - 2 * degrees)
end)

sim.on("gpio", function(pin, level)
  print(("pin %d is %s"):format(pin, level == 1 and "high" or "low"))
end)

-- Somebody presses the button at pin 3 once a minute.
sim.gpio(3, 1)
tmr.create():alarm(60 * 1000, tmr.ALARM_AUTO, function()
  sim.gpio(3, 0)
  sim.gpio(3, 1)
end)
