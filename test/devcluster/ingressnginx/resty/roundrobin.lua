-- Takes turns among the endpoints of one backend. Debian has no lua-resty-balancer, which does this in
-- ingress-nginx's image; which backend a request goes to is decided before, by ingress-nginx's own balancer.
local _M = {}
_M.__index = _M

local function list(nodes)
  local ids = {}
  for id in pairs(nodes) do
    ids[#ids + 1] = id
  end
  table.sort(ids)
  return ids
end

function _M.new(_, nodes)
  return setmetatable({ nodes = nodes, ids = list(nodes), at = 0 }, _M)
end

function _M.reinit(self, nodes)
  self.nodes, self.ids, self.at = nodes, list(nodes), 0
end

function _M.find(self)
  if #self.ids == 0 then
    return nil
  end
  self.at = self.at % #self.ids + 1
  return self.ids[self.at]
end

return _M
