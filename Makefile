# What LuaRocks runs (see the rockspec). Everything else is cargo's and tests/run's.

LUA = lua
CARGO = cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)

# The module is built for the version that this interpreter tells; LuaRocks tells no other way. That for Lua 5.1 serves
# LuaJIT too.
VERSION := $(shell $(LUA) -e 'print(_VERSION)')

# LuaRocks says CC=gcc. With that in its environment cargo would build again what it has built without.
unexport CC

SOURCES := $(shell cd lua && find . -name '*.lua' -not -path './types/*')

all:
	$(CARGO) build --release --locked --lib --no-default-features --features module,lua$(subst .,,$(lastword $(VERSION)))

install:
	install -D -m 755 $(TARGET)/release/libmqtt.so "$(LIBDIR)/mqtt.so"
	cd lua && for file in $(SOURCES); do install -D -m 644 $$file "$(LUADIR)/$$file" || exit 1; done

.PHONY: all install
