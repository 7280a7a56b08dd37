-- Publishes what the script prints, beside printing it: by print, io.write and the methods of io.stdout and io.stderr.

local emit = ...

local installed = false

-- Once for a Lua state; where to publish, and whether, is the configuration's.
return function()
  if installed then return end
  installed = true
  local print, tostring, select, concat = print, tostring, select, table.concat
  local io, stdout, stderr, write = io, io.stdout, io.stderr, io.write

  local function line(separator, ...)
    local parts = {}
    for n = 1, select("#", ...) do parts[n] = tostring((select(n, ...))) end
    return concat(parts, separator)
  end

  function _G.print(...)
    emit(1, line("\t", ...))
    return print(...)
  end

  function io.write(...) -- luacheck: ignore 122
    if io.output() == stdout then emit(1, line("", ...)) end
    return write(...)
  end

  local methods = getmetatable(stdout).__index
  local method = methods.write
  function methods.write(file, ...)
    if file == stdout or file == stderr then emit(file == stdout and 1 or 2, line("", ...)) end
    return method(file, ...)
  end
end
