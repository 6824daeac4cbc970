-- Stands for a library that Debian does not have and that nothing here uses:
-- ingress-nginx loads it all the same, and makes objects of some in advance.
local absent = {}
setmetatable(absent, {
  __index = function(_, key)
    return function()
      if key == "new" then
        return absent
      end
      error("this nginx has no library for " .. tostring(key))
    end
  end,
})
return absent
