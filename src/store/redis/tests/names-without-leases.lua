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

-- Takes, renews and gives back the names that one node's members have in a room.
--
-- KEYS: when each node's claims expire (Unix ms by this server's clock), the names (key: node, number, who it is).
-- ARGV: deadline, node, milliseconds until its claims expire; then for each name what to do with it (`take`, `drop`),
--       its key, the claim's number, and who it is.
-- Returns one byte for whether the node's claims were known here, then one for each name: 1, or 0 if it is another's.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the caller has given up')
end
local me, life = ARGV[2], tonumber(ARGV[3])

local known, dead = renew(KEYS[1], me, now, life)
if dead then
  local names = redis.call('HGETALL', KEYS[2])
  for i = 1, #names, 2 do
    if dead[string.sub(names[i + 1], 1, #me)] then redis.call('HDEL', KEYS[2], names[i]) end
  end
end

local reply = { known == 1 and '\1' or '\0' }
for i = 4, #ARGV, 4 do
  local action, key, number, who = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local held = redis.call('HGET', KEYS[2], key)
  local mine = held and string.sub(held, 1, #me) == me
  if action == 'take' then
    local free = not held or mine
    if free then redis.call('HSET', KEYS[2], key, me .. number .. who) end
    reply[#reply + 1] = free and '\1' or '\0'
  else
    -- A later claim of the same node stays.
    if mine and string.sub(held, #me + 1, #me + #number) == number then redis.call('HDEL', KEYS[2], key) end
    reply[#reply + 1] = '\1'
  end
end

if redis.call('EXISTS', KEYS[2]) == 1 then
  -- Nothing stays behind when all nodes have gone.
  redis.call('PEXPIRE', KEYS[1], 2 * life)
  redis.call('PEXPIRE', KEYS[2], 2 * life)
else
  redis.call('DEL', KEYS[1])
end
return table.concat(reply)
