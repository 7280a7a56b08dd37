-- `sjson`, and `cjson` as the older firmware called it: native, see `src/lua/nodemcu/sjson`.

local device = require("nodemcu.device")

---@class nodemcu.sjson
---@field NULL userdata stands for null
---@field encode fun(value: table, options: nodemcu.sjson.options?): string
---@field decode fun(text: string, options: nodemcu.sjson.options?): any
---@field encoder fun(value: table, options: nodemcu.sjson.options?): nodemcu.sjson.encoder
---@field decoder fun(options: nodemcu.sjson.options?): nodemcu.sjson.decoder

---@class nodemcu.sjson.options
---@field depth integer? how deep tables may stand in each other (20)
---@field null string? stands for null instead of sjson.NULL
---@field metatable table? of all tables that are made; its `checkpath(table, path)` chooses which are kept

---@class nodemcu.sjson.encoder
---@field read fun(self: nodemcu.sjson.encoder, size: integer?): string?

---@class nodemcu.sjson.decoder
---@field write fun(self: nodemcu.sjson.decoder, text: string): any
---@field result fun(self: nodemcu.sjson.decoder): any

return device.seal("sjson", require("mqtt.sjson")) --[[@as nodemcu.sjson]]
