-- Asks the script's functions for user name and password, inside the loop and before a dial. Here the call has to be
-- protected: when one fails the attempt fails too, and then the error goes on its way as it is.

local give, refuse = ...
local error, pcall = error, pcall

return function(client, username, password)
  local ok, problem = pcall(function()
    local name, secret
    if username then name = username(client) end
    if password then secret = password(client) end
    give(client, username ~= nil, name, password ~= nil, secret)
  end)
  if not ok then
    refuse(client)
    error(problem, 0)
  end
end
