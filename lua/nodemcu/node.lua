-- The device's `node` module, as far as it makes sense away from a device.

local node = {}

-- The memory that node.heap() pretends to have: scripts that restart below some limit should not.
local HEAP = 64 * 1024 * 1024

-- A name of this machine that stays the same between runs, or nil.
local function machine_name()
  for _, path in ipairs { "/etc/machine-id", "/proc/sys/kernel/hostname" } do
    local file = io.open(path)
    local name = file and file:read("*l")
    if file then file:close() end
    if name and name ~= "" then return name end
  end
end

-- 24 bits, as on a device, out of the machine's name (which is not to be recognised in them).
local function chip_id()
  local hash = 5381
  for byte in (machine_name() or ""):gmatch(".") do
    hash = (hash * 33 + byte:byte()) % 2 ^ 32
  end
  return math.floor(hash / 2 ^ 8)
end

local chipid

-- The id of this "chip": a number of 24 bits, the same in every run on this machine.
function node.chipid()
  chipid = chipid or chip_id()
  return chipid
end

-- Bytes of heap that are free.
function node.heap()
  return math.max(0, math.floor(HEAP - collectgarbage("count") * 1024))
end

return node
