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
-- KEYS: when each node's users expire (Unix ms by this server's clock), who is here (user: node=sockets ... ~name; the
--       name, if there is one, in hexadecimal digits).
-- ARGV: node, milliseconds until it expires, feed channel, room; then for each change the user, how many sockets it has
--       on this node now, and its name.
-- Returns 1 if the node's users were known here, 0 if they have to be told anew.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, life, channel, room = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local function publish(what, said)
  redis.call('PUBLISH', channel, struct.pack('>BI2', 2, #room) .. room .. struct.pack('B', what) .. me .. said)
end

-- The name comes first, in a frame of its own: nodes that don't know of names pass that over.
local function tell(what, user, name)
  if name ~= '' then publish(8, user .. '\0' .. name) end
  publish(what, user)
end

local function name_of(entries)
  local digits = string.match(entries or '', '~(%x*)') or ''
  return (string.gsub(digits, '%x%x', function(byte) return string.char(tonumber(byte, 16)) end))
end

local function without(entries, gone)
  local left = {}
  for node, sockets in string.gmatch(entries or '', '(%w+)=(%d+)') do
    if not gone[node] then left[#left + 1] = node .. '=' .. sockets end
  end
  return left
end

local function write(user, entries, name)
  if #entries > 0 then
    if name ~= '' then
      entries[#entries + 1] = '~' .. string.gsub(name, '.', function(c) return string.format('%02x', string.byte(c)) end)
    end
    redis.call('HSET', KEYS[2], user, table.concat(entries, ' '))
  else
    redis.call('HDEL', KEYS[2], user)
  end
end

local known, dead = renew(KEYS[1], me, now, life)
if dead then
  local here = redis.call('HGETALL', KEYS[2])
  for i = 1, #here, 2 do
    local left, name = without(here[i + 1], dead), name_of(here[i + 1])
    if #left == 0 then tell(1, here[i], name) end
    write(here[i], left, name)
  end
end

for i = 5, #ARGV, 3 do
  local user, sockets, name = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local before = redis.call('HGET', KEYS[2], user)
  local after = without(before, { [me] = true })
  if sockets ~= '0' then after[#after + 1] = me .. '=' .. sockets end
  if name == '' then name = name_of(before) end
  if not before and #after > 0 then tell(0, user, name) end
  if before and #after == 0 then tell(1, user, name) end
  write(user, after, name)
end

-- Nothing stays behind when all nodes have gone.
redis.call('PEXPIRE', KEYS[1], 2 * life)
redis.call('PEXPIRE', KEYS[2], 2 * life)
return known
