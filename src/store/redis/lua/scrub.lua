-- Rewrites a room's stream without its deleted entries, a part at a time: Redis only marks an entry as deleted, and
-- keeps its bytes for as long as those beside it.
--
-- KEYS: the room's stream, the copy, the room's changes. ARGV: how many entries at most.
-- Returns 1 if there is more to do, else 0.
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first then
  redis.call('DEL', KEYS[2])
  return 0
end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local entries = redis.call('XRANGE', KEYS[1], last and '(' .. last[1] or '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(entries) do
  redis.call('XADD', KEYS[2], entry[1], entry[2][1], entry[2][2])
end
-- A copy that is never finished expires.
redis.call('PEXPIRE', KEYS[2], 600000)
if #entries == tonumber(ARGV[1]) then return 1 end
redis.call('XTRIM', KEYS[2], 'MINID', first[1])
-- What was deleted while it was copied. What is deleted all the time must not make this start again for ever.
for _, change in ipairs(redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1000)) do
  local what, ms, seq = struct.unpack('>BI6I2', change[2][2])
  if what == 1 then redis.call('XDEL', KEYS[2], string.format('%.0f-%.0f', ms, seq)) end
end
if redis.call('XLEN', KEYS[1]) ~= redis.call('XLEN', KEYS[2]) then
  -- More was deleted in the meantime: start again.
  redis.call('DEL', KEYS[2])
  return 1
end
redis.call('PERSIST', KEYS[2])
redis.call('RENAME', KEYS[2], KEYS[1])
return 0
