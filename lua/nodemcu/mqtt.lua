-- The module `mqtt` under a name that no other rock and no file of a project uses.
return require("mqtt")
