-- Takes and gives back the names that one node's members have in a room.
--
-- KEYS: until when each node's claims are kept (Unix ms by this server's clock), the names (key: node, number, details).
--       A node is the epoch of its lease.
-- ARGV: deadline, node, milliseconds that its claims are kept, its earlier epochs, epochs that are over; then for each
--       name an action (`take`, `drop`), its key, the claim's number, and its details.
-- Returns for each name its holder, if that is another node; else nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the caller has given up')
end
local me, life = ARGV[2], tonumber(ARGV[3])

local _, dead = renew(KEYS[1], me, now, life, ARGV[5])
if dead then
  local names = redis.call('HGETALL', KEYS[2])
  for i = 1, #names, 2 do
    if dead[string.sub(names[i + 1], 1, #me)] then redis.call('HDEL', KEYS[2], names[i]) end
  end
end

local mine = { [me] = true }
for epoch in string.gmatch(ARGV[4], '%w+') do mine[epoch] = true end
local reply = {}
for i = 6, #ARGV, 4 do
  local action, key, number, who = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local held = redis.call('HGET', KEYS[2], key)
  local holder = held and string.sub(held, 1, #me)
  local is_free = not held or mine[holder]
  if action == 'take' then
    if is_free then redis.call('HSET', KEYS[2], key, me .. number .. who) end
    reply[#reply + 1] = is_free and '' or holder
  else
    -- A later claim of the same node stays.
    if held and is_free and string.sub(held, #me + 1, #me + #number) == number then redis.call('HDEL', KEYS[2], key) end
    reply[#reply + 1] = ''
  end
end

if redis.call('EXISTS', KEYS[2]) == 1 then
  -- Nothing remains after all nodes have gone.
  redis.call('PEXPIRE', KEYS[1], 2 * life)
  redis.call('PEXPIRE', KEYS[2], 2 * life)
else
  redis.call('DEL', KEYS[1])
end
return reply
