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

-- Notes who of one node's users are in a room, and publishes who came first or left last over all nodes.
--
-- KEYS: when each node's users expire (Unix ms by this server's clock), who is here (user: node=sockets ...).
-- ARGV: node, milliseconds until it expires, feed channel, room; then for each change the user and how many sockets
--       it has on this node now.
-- Returns 1 if the node's users were known here, 0 if they have to be told anew.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, life, channel, room = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local function tell(what, user)
  redis.call('PUBLISH', channel, struct.pack('>BI2', 2, #room) .. room .. struct.pack('B', what) .. me .. user)
end

local function without(entries, gone)
  local left = {}
  for node, sockets in string.gmatch(entries or '', '(%w+)=(%d+)') do
    if not gone[node] then left[#left + 1] = node .. '=' .. sockets end
  end
  return left
end

local function write(user, entries)
  if #entries > 0 then
    redis.call('HSET', KEYS[2], user, table.concat(entries, ' '))
  else
    redis.call('HDEL', KEYS[2], user)
  end
end

local known, dead = renew(KEYS[1], me, now, life)
if dead then
  local here = redis.call('HGETALL', KEYS[2])
  for i = 1, #here, 2 do
    local left = without(here[i + 1], dead)
    write(here[i], left)
    if #left == 0 then tell(1, here[i]) end
  end
end

for i = 5, #ARGV, 2 do
  local user, sockets = ARGV[i], ARGV[i + 1]
  local before = redis.call('HGET', KEYS[2], user)
  local after = without(before, { [me] = true })
  if sockets ~= '0' then after[#after + 1] = me .. '=' .. sockets end
  write(user, after)
  if not before and #after > 0 then tell(0, user) end
  if before and #after == 0 then tell(1, user) end
end

-- Nothing stays behind when all nodes have gone.
redis.call('PEXPIRE', KEYS[1], 2 * life)
redis.call('PEXPIRE', KEYS[2], 2 * life)
return known
