-- Comes before scripts that keep each node's claims: notes that `me` claims something, and forgets the nodes that are
-- `over` by their lease, or that have none and did not renew their claims. Returns the other nodes that remain, and the
-- set of the forgotten ones, nil if empty.
local function renew(nodes_key, me, now, life, over)
  redis.call('HSET', nodes_key, me, string.format('%.0f', now + life))
  local dead
  for node in string.gmatch(over, '%w+') do
    dead = dead or {}
    dead[node] = true
    redis.call('HDEL', nodes_key, node)
  end
  local nodes, others = redis.call('HGETALL', nodes_key), {}
  for i = 1, #nodes, 2 do
    local node = nodes[i]
    if tonumber(nodes[i + 1]) <= now then
      dead = dead or {}
      dead[node] = true
      redis.call('HDEL', nodes_key, node)
    elseif node ~= me then
      others[#others + 1] = node
    end
  end
  return others, dead
end

