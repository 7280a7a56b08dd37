-- The id of this "chip", the same in every run on this machine.

-- A name of this machine that stays the same between runs, or nil.
local function machine_name()
  for _, path in ipairs { "/etc/machine-id", "/proc/sys/kernel/hostname" } do
    local file = io.open(path)
    local name = file and file:read("*l")
    if file then file:close() end
    if name and name ~= "" then return name end
  end
end

---24 bits, as on a device, out of the machine's name (which is not to be recognised in them).
---@return integer
return function()
  local hash = 5381
  for byte in (machine_name() or ""):gmatch(".") do
    hash = (hash * 33 + byte:byte()) % 2 ^ 32
  end
  return math.floor(hash / 2 ^ 8)
end
