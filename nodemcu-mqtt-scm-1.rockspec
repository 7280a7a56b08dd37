-- `luarocks make` in a clone builds and installs the module for the Lua of that LuaRocks; it needs cargo and Lua's
-- headers (which LuaRocks asks for, not the build). `luarocks test` runs the specs against what is installed: it needs
-- busted and luasocket, and the tree on the paths (eval "$(luarocks path)").
rockspec_format = "3.0"
package = "nodemcu-mqtt"
version = "scm-1"

source = {
  url = ".", -- made from a clone only
}

description = {
  summary = "The NodeMCU mqtt module for Lua on PCs, gateways and servers",
  detailed = "MQTT 3.1.1 and 3.1 with QoS 0 to 2, wills, sessions and reconnects, on a core written in Rust.",
  license = "MIT",
  labels = { "mqtt", "iot", "nodemcu", "network" },
}

supported_platforms = { "linux" }

dependencies = {
  "lua >= 5.1, < 5.5",
}

build = {
  type = "make",
  makefile = "Makefile",
  build_variables = {
    LUA = "$(LUA)",
  },
  install_variables = {
    LUA = "$(LUA)",
    LIBDIR = "$(LIBDIR)",
    LUADIR = "$(LUADIR)",
  },
}

test = {
  type = "command",
  script = "tests/specs.lua",
}
