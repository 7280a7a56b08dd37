-- Ends with a test of busted what was begun in it: device scripts, brokers, clocks. What before_each and setup begin is
-- theirs to end, and so is everything under other frameworks.

local ends = {}

-- What is to be done at the end of the test that runs.
local due, inside = {}, false

---Notes what ends an object, if a test runs.
---@generic T
---@param object T
---@param method string
---@return T object
function ends.with_test(object, method)
  if inside then due[#due + 1] = function() object[method](object) end end
  return object
end

local function start()
  inside = true
  return nil, true
end

local function finish()
  local list = due
  inside, due = false, {}
  for i = #list, 1, -1 do list[i]() end
  return nil, true
end

---@param busted table
function ends.listen(busted)
  busted.subscribe({ "test", "start" }, start)
  busted.subscribe({ "test", "end" }, finish)
end

return ends
