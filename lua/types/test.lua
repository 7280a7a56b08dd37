---@meta
-- The objects of require("mqtt.test"); its functions are annotated where they stand.

---@class nodemcu.mqtt.test.clock
local clock = {}

---Moves time on and runs everything that is due on the way, in its order.
---@param ms number
function clock:advance(ms) end

---Milliseconds since the clock was started.
---@return number
function clock:now() end

---Brings the real clock back.
function clock:restore() end

---@class nodemcu.mqtt.test.script.options
---@field broker nodemcu.mqtt.broker? where all connects go
---@field args string[]?
---@field globals table<string, any>? modules in the place of the device's, and whatever else the script finds

---@class nodemcu.mqtt.test.script
---@field env table its globals
---@field output string[] the lines that it printed
---@field ended ("restart"|"dsleep")? how it stopped itself
local script = {}

---@return nodemcu.mqtt.client[]
function script:clients() end

---Whether it printed this line.
---@param line string
---@return boolean
function script:printed(line) end

---Closes its clients and stops its timers.
function script:stop() end
