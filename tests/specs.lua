-- `luarocks test`: runs the specs with busted in the interpreter that runs this, against the module that is installed.
-- Arguments are busted's.

local found, why = pcall(require, "nodemcu.mqtt")
if not found then
  error("the module is not on the paths: run `luarocks make`, then eval \"$(luarocks path)\"\n" .. why, 0)
end

local options = { ... }
arg = { [0] = "busted", "--output=plainTerminal" } -- luacheck: globals arg
for _, option in ipairs(options) do arg[#arg + 1] = option end
arg[#arg + 1] = "tests/spec"

require("busted.runner")({ standalone = false })
