-- Notes which of one node's users are in a room, and publishes who joined first or left last over all nodes.
--
-- KEYS: until when each node's claims are kept (Unix ms by this server's clock), who is here (user: node=sockets ...
--       ~name; the name, if there is one, in hexadecimal digits). A node is the epoch of its lease.
-- ARGV: deadline, node, milliseconds that its claims are kept, its earlier epochs, epochs that are over, feed channel,
--       room, 1 to publish nothing; then for each change the user, how many sockets it has on this node now, and its
--       name.
-- Returns the nodes that claim something here.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the caller has given up')
end
local me, life, channel, room, quiet = ARGV[2], tonumber(ARGV[3]), ARGV[6], ARGV[7], ARGV[8] == '1'

local function publish(what, said)
  redis.call('PUBLISH', channel, struct.pack('>BI2', 2, #room) .. room .. struct.pack('B', what) .. me .. said)
end

-- The name comes first, in its own frame: nodes that don't know names skip that frame.
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

local nodes, dead = renew(KEYS[1], me, now, life, ARGV[5])
if dead then
  local here = redis.call('HGETALL', KEYS[2])
  for i = 1, #here, 2 do
    local left, name = without(here[i + 1], dead), name_of(here[i + 1])
    if #left == 0 then tell(1, here[i], name) end
    write(here[i], left, name)
  end
end

local mine = { [me] = true }
for epoch in string.gmatch(ARGV[4], '%w+') do mine[epoch] = true end
for i = 9, #ARGV, 3 do
  local user, sockets, name = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local before = redis.call('HGET', KEYS[2], user)
  local after = without(before, mine)
  if sockets ~= '0' then after[#after + 1] = me .. '=' .. sockets end
  if name == '' then name = name_of(before) end
  if not quiet then
    if not before and #after > 0 then tell(0, user, name) end
    if before and #after == 0 then tell(1, user, name) end
  end
  write(user, after, name)
end

-- Nothing remains after all nodes have gone.
redis.call('PEXPIRE', KEYS[1], 2 * life)
redis.call('PEXPIRE', KEYS[2], 2 * life)
return nodes
