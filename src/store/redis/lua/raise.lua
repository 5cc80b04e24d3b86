-- Makes a room's later ids greater than one that was shown, and that the room may have lost.
--
-- KEYS: the room's head. ARGV: that id.
local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end
local last = redis.call('HGET', KEYS[1], 'last')
local ms, seq = parse(last or '0-0')
local shown_ms, shown_seq = parse(ARGV[1])
if shown_ms > ms or (shown_ms == ms and shown_seq > seq) then redis.call('HSET', KEYS[1], 'last', ARGV[1]) end
return 0
