-- Lets a room go on from its archived part, after this server has lost some of it.
--
-- KEYS: the room's stream, its head, its changes, state of changed messages, which those are, archived ones at hand.
-- ARGV: up to where the room is archived.
-- Returns 1 if something was lost, else 0.
local function is_later(one, other)
  local ms, seq = string.match(one, '^(%d+)-(%d+)')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms > other_ms or (ms == other_ms and tonumber(seq) > tonumber(other_seq))
end
local archived = ARGV[1]
local head = redis.call('HMGET', KEYS[2], 'last', 'archived', 'hot_from')
if head[2] and not is_later(archived, head[2]) then return 0 end
local ms, seq = string.match(archived, '^(%d+)-(%d+)')
local from = string.format('%s-%.0f', ms, tonumber(seq) + 1)
-- The archive has all of this, and some of it may be older here. This comes first: a server whose memory is full refuses a
-- script unless its first write frees memory.
redis.call('XTRIM', KEYS[1], 'MINID', from)
redis.call('XTRIM', KEYS[3], 'MINID', from)
local lost = 0
if not head[1] or is_later(archived, head[1]) then
  redis.call('HSET', KEYS[2], 'last', archived)
  lost = 1
end
if not head[3] or is_later(from, head[3]) then redis.call('HSET', KEYS[2], 'hot_from', from) end
redis.call('HSET', KEYS[2], 'archived', archived)
redis.call('HDEL', KEYS[2], 'whole')
if redis.call('XLEN', KEYS[3]) == 0 then
  redis.call('DEL', KEYS[4], KEYS[5], KEYS[6])
  redis.call('HINCRBY', KEYS[2], 'trims', 1)
end
return lost
