-- Returns the state of changed messages.
--
-- KEYS: the room's head, the state of changed messages, which those are.
-- ARGV: `of` and their entries; or `all`, how many of all to skip, and how many to return.
-- Returns how often states were removed, up to where the room was deleted, then the entries (of `all`), and for each
-- its edit, its reactions, and the end of its id if it is deleted.
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
