-- Put in front of scripts that keep what each node tells of its members: notes that `me` lives on, forgets the nodes
-- that have not done so in time. Returns 1 if `me` was known here (else 0), and the set of the forgotten, nil if empty.
local function renew(nodes_key, me, now, life)
  local known = redis.call('HEXISTS', nodes_key, me)
  redis.call('HSET', nodes_key, me, string.format('%.0f', now + life))
  local nodes, dead = redis.call('HGETALL', nodes_key), nil
  for i = 1, #nodes, 2 do
    if tonumber(nodes[i + 1]) <= now then
      dead = dead or {}
      dead[nodes[i]] = true
      redis.call('HDEL', nodes_key, nodes[i])
    end
  end
  return known, dead
end

