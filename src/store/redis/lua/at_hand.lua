-- Puts an archived message where `append.lua` finds it, so that it can be changed and answered.
--
-- KEYS: the room's stream, its head, the state of changed messages, which those are, archived ones at hand.
-- ARGV: the message's entry, how often states had been removed when the archive was read, the end of its id and its body
--       (empty: only check whether it is here), its edit, its reactions.
-- Returns 1 if the message can be found, or is gone; else how often states were removed, as text.
local of = ARGV[1]
local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end
if redis.call('XRANGE', KEYS[1], of, of)[1] or redis.call('HEXISTS', KEYS[3], 'd' .. of) == 1 then return 1 end
local head = redis.call('HMGET', KEYS[2], 'whole', 'trims', 'forgotten')
if head[1] then return 1 end
if head[3] then
  local ms, seq = parse(of)
  local gone_ms, gone_seq = parse(head[3])
  if ms < gone_ms or (ms == gone_ms and seq <= gone_seq) then return 1 end
end
local time = redis.call('TIME')
local now = struct.pack('>I6', time[1] * 1000 + math.floor(time[2] / 1000))
local known = redis.call('HGET', KEYS[5], of)
if known then
  redis.call('HSET', KEYS[5], of, now .. string.sub(known, 7))
elseif ARGV[3] == '' or ARGV[2] ~= (head[2] or '0') then
  return head[2] or '0'
else
  redis.call('HSET', KEYS[5], of, now .. ARGV[3])
  if ARGV[4] ~= '' and redis.call('HEXISTS', KEYS[3], 'e' .. of) == 0 then redis.call('HSET', KEYS[3], 'e' .. of, ARGV[4]) end
  if ARGV[5] ~= '' and redis.call('HEXISTS', KEYS[3], 'r' .. of) == 0 then redis.call('HSET', KEYS[3], 'r' .. of, ARGV[5]) end
  if ARGV[4] ~= '' or ARGV[5] ~= '' then redis.call('ZADD', KEYS[4], (parse(of)), of) end
end
redis.call('PEXPIRE', KEYS[5], 600000)
return 1
