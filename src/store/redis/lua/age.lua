-- Deletes what is older than a given time, a part at a time: messages, changes, and the state of those messages.
--
-- KEYS: the room's stream, its head, its changes, state of changed messages, which those are, archived ones at hand.
-- ARGV: Unix milliseconds; how many entries at most.
-- Returns how many entries were deleted. If that is the maximum, there may be more.
local function behind(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)')
  return string.format('%s-%.0f', ms, tonumber(seq) + 1), ms
end

local before, most = ARGV[1], ARGV[2]
local messages = redis.call('XRANGE', KEYS[1], '-', '(' .. before .. '-0', 'COUNT', most)
local done_to = before
if #messages > 0 then
  local from, ms = behind(messages[#messages][1])
  redis.call('XTRIM', KEYS[1], 'MINID', from)
  redis.call('HSET', KEYS[2], 'kept_from', from)
  if #messages == tonumber(most) then done_to = ms end
end
local changes = redis.call('XRANGE', KEYS[3], '-', '(' .. before .. '-0', 'COUNT', most)
if #changes > 0 then
  local last = changes[#changes][1]
  redis.call('XTRIM', KEYS[3], 'MINID', (behind(last)))
  redis.call('HSET', KEYS[2], 'changes_gone', last)
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', '(' .. done_to, 'LIMIT', 0, most)
for _, of in ipairs(gone) do
  redis.call('HDEL', KEYS[4], 'e' .. of, 'r' .. of, 'd' .. of)
  redis.call('ZREM', KEYS[5], of)
end
for _, of in ipairs(redis.call('HKEYS', KEYS[6])) do
  if tonumber((string.match(of, '^%d+'))) < tonumber(before) then redis.call('HDEL', KEYS[6], of) end
end
return math.max(#messages, #changes, #gone)
