-- Tells what messages have become.
--
-- KEYS: the room's head, what messages have become, which those are.
-- ARGV: `of`, and their entries; or `all`, and how many of all to leave out, and to tell.
-- Returns how often that was let go of, up to where the room was deleted, then the entries (of `all`), and for each its
-- edit, its reactions, and the end of its id if it is deleted.
local head = redis.call('HMGET', KEYS[1], 'trims', 'forgotten')
local entries, became = {}, {}
if ARGV[1] == 'all' then
  entries = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '+inf', 'LIMIT', ARGV[2], ARGV[3])
else
  for i = 2, #ARGV do entries[i - 1] = ARGV[i] end
end
for i, of in ipairs(entries) do
  became[i] = redis.call('HMGET', KEYS[2], 'e' .. of, 'r' .. of, 'd' .. of)
end
return { head[1], head[2], entries, became }
