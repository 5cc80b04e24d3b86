-- Notes up to where a room's entries were sent to webhooks. A later position stays.
--
-- KEYS: the room's head. ARGV: milliseconds and sequence of the entry's id.
local told = redis.call('HGET', KEYS[1], 'told')
if told then
  local ms, seq = string.match(told, '^(%d+)-(%d+)')
  ms, seq = tonumber(ms), tonumber(seq)
  local new_ms = tonumber(ARGV[1])
  if ms > new_ms or (ms == new_ms and seq >= tonumber(ARGV[2])) then return 0 end
end
redis.call('HSET', KEYS[1], 'told', ARGV[1] .. '-' .. ARGV[2])
return 1
