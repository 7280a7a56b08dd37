---@meta mqtt.tmr
-- What require("mqtt.tmr") gives: NodeMCU's tmr.

---@alias nodemcu.mqtt.tmr.id integer|nodemcu.mqtt.timer 0 to 6, or an object
---@alias nodemcu.mqtt.tmr.mode 0|1|2 ALARM_SINGLE, ALARM_AUTO, ALARM_SEMI

---@class nodemcu.mqtt.tmr
---@field ALARM_SINGLE integer 0: once, then unregistered
---@field ALARM_AUTO integer 1: again and again
---@field ALARM_SEMI integer 2: once for each start
local tmr = {}

---@return nodemcu.mqtt.timer
function tmr.create() end

---Registers and starts a timer.
---@param id nodemcu.mqtt.tmr.id
---@param interval integer milliseconds
---@param mode nodemcu.mqtt.tmr.mode
---@param callback fun(timer: nodemcu.mqtt.timer)
---@return boolean
function tmr.alarm(id, interval, mode, callback) end

---@param id nodemcu.mqtt.tmr.id
---@param interval integer milliseconds
---@param mode nodemcu.mqtt.tmr.mode
---@param callback fun(timer: nodemcu.mqtt.timer)
function tmr.register(id, interval, mode, callback) end

---@param id nodemcu.mqtt.tmr.id
---@param restart nodemcu.mqtt.flag?
---@return boolean
function tmr.start(id, restart) end

---@param id nodemcu.mqtt.tmr.id
---@return boolean
function tmr.stop(id) end

---@param id nodemcu.mqtt.tmr.id
function tmr.unregister(id) end

---@param id nodemcu.mqtt.tmr.id
---@param interval integer milliseconds
function tmr.interval(id, interval) end

---@param id nodemcu.mqtt.tmr.id
---@return boolean? running nil when nothing is registered
---@return nodemcu.mqtt.tmr.mode? mode
function tmr.state(id) end

---Microseconds, wrapping at 31 bits.
---@return integer
function tmr.now() end

---Seconds since the start, wrapping at 31 bits.
---@return integer
function tmr.time() end

---Waits.
---@param us integer microseconds
function tmr.delay(us) end

---@class nodemcu.mqtt.timer
local timer = {}

---@param interval integer milliseconds
---@param mode nodemcu.mqtt.tmr.mode
---@param callback fun(timer: nodemcu.mqtt.timer)
---@return boolean
function timer:alarm(interval, mode, callback) end

---@param interval integer milliseconds
---@param mode nodemcu.mqtt.tmr.mode
---@param callback fun(timer: nodemcu.mqtt.timer)
function timer:register(interval, mode, callback) end

---@param restart nodemcu.mqtt.flag?
---@return boolean
function timer:start(restart) end

---@return boolean
function timer:stop() end

function timer:unregister() end

---@param interval integer milliseconds
function timer:interval(interval) end

---@return boolean? running nil when nothing is registered
---@return nodemcu.mqtt.tmr.mode? mode
function timer:state() end

---@deprecated not simulated: raises an error that says so
function timer:suspend() end

---@deprecated not simulated: raises an error that says so
function timer:resume() end

return tmr
