-- Calls a function for somebody else: what is wrong with the arguments is wrong where the caller was called.

---@param f function
---@param ... any
---@return any
return function(f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if type(result) == "string" then result = result:gsub("^.-:%d+: ", "", 1) end
  error(result, 3)
end
