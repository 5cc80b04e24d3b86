-- Takes over messages of a room from another log, with their ids, all or none. They are not published.
--
-- KEYS: the room's stream, its head, then a key for each message with a reference that is still remembered.
-- ARGV: deadline (Unix ms by this server's clock), the message taken over last and its entry (both empty if there is
--       none), the last message of these and its entry; then for each message its entry, its body, and for how many
--       seconds its reference is still to be remembered (0: it has none).
-- Returns 1, or 0 if the room is not as the caller thought it was: somebody has said something there.
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the caller has given up')
end
local head = redis.call('HMGET', KEYS[2], 'last', 'imported')
local last, imported = head[1] or '', head[2] or ''
-- The same messages may come twice: when the answer to the first was lost with its connection.
if imported == ARGV[4] then return 1 end
if imported ~= ARGV[2] or last ~= ARGV[3] then return 0 end
if last == '' and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local reference = 3
for i = 6, #ARGV, 3 do
  redis.call('XADD', KEYS[1], ARGV[i], 'i', ARGV[i + 1])
  if ARGV[i + 2] ~= '0' then
    -- With the part of its id that the entry's does not have: the body begins with it.
    redis.call('SET', KEYS[reference], ARGV[i] .. ':' .. string.sub(ARGV[i + 1], 1, 8), 'EX', ARGV[i + 2])
    reference = reference + 1
  end
end
redis.call('HSET', KEYS[2], 'last', ARGV[5], 'imported', ARGV[4])
return 1
