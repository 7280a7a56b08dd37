//! The entry for fuzzing `sjson`.

use mlua::{Function, Lua};

/// Decodes the bytes whole and in two pieces, and what comes of it again after it was encoded.
const SCRIPT: &str = r#"
local sjson = ...

local function same(a, b)
  if type(a) == "number" and type(b) == "number" then
    -- Lua writes 14 digits
    return a == b or math.abs(a - b) <= 1e-12 * math.abs(a)
  elseif type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

return function(text, at, depth, null, decision)
  local metatable = decision and {
    __newindex = rawset,
    checkpath = function(_, path) return #path % 2 == decision end,
  }
  local options = { depth = depth, null = null, metatable = metatable }
  local whole, value = pcall(sjson.decode, text, options)
  local pieces, other = pcall(function()
    local decoder = sjson.decoder(options)
    decoder:write(text:sub(1, at))
    decoder:write(text:sub(at + 1))
    return decoder:result()
  end)
  assert(whole == pieces, "a text means the same in pieces")
  if not whole then
    assert(type(value) == "string" and type(other) == "string", "an error is text")
    return
  end
  assert(same(value, other), "a text means the same in pieces")
  -- what was left out of a list has become null
  if value and not metatable then
    assert(same(value, sjson.decode(sjson.encode(value, options), options)), "what was encoded is decoded")
  end
end
"#;

thread_local! {
    /// One state for all runs.
    static CHECK: (Lua, Function) = {
        let lua = Lua::new();
        let made = crate::lua::open_sjson(&lua).and_then(|sjson| lua.load(SCRIPT).call(sjson));
        let check = made.expect("the script is right");
        (lua, check)
    };
}

/// Bytes are decoded or not, however they come; what is decoded can be encoded again. The first two bytes are options.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let [options, at, text @ ..] = data else { return };
    CHECK.with(|(lua, check)| {
        let text = lua.create_string(text).expect("there is memory");
        let depth = (options & 1 != 0).then_some(options >> 4);
        let null = (options & 2 != 0).then_some("a");
        let decision = (options & 4 != 0).then_some(options >> 3 & 1);
        let outcome = check.call::<()>((text, *at, depth, null, decision));
        outcome.unwrap_or_else(|error| panic!("{error}"));
    });
}
