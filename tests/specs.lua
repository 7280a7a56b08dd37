-- `luarocks test`: runs the specs with busted in the interpreter that runs this, against the module that is installed.
-- Arguments are busted's.

local found, why = pcall(require, "nodemcu.mqtt")
if not found then
  error("the module is not on the paths: run `luarocks make`, then eval \"$(luarocks path)\"\n" .. why, 0)
end

local options = { ... }
local busted_arguments = { [0] = "busted", "--output=plainTerminal" }
for _, option in ipairs(options) do busted_arguments[#busted_arguments + 1] = option end
busted_arguments[#busted_arguments + 1] = "tests/spec"

_G.arg = busted_arguments
require("busted.runner")({ standalone = false })
