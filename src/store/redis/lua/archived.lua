-- Notes up to where a room is archived, and removes archived entries older than the newest ones.
--
-- KEYS: the room's stream, its head, its changes, state of changed messages, which those are, archived ones at hand.
-- ARGV: up to where it is archived, how many entries stay, for how many milliseconds a message stays at hand.
-- Returns 1 if there is more to remove, else 0.
local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end
local function is_later(one, other)
  local ms, seq = parse(one)
  local other_ms, other_seq = parse(other)
  return ms > other_ms or (ms == other_ms and seq > other_seq)
end
local function behind(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)')
  return string.format('%s-%.0f', ms, tonumber(seq) + 1)
end

local archived, hot, life = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- A server whose memory is full refuses a script unless its first write frees memory. This one does.
redis.call('HDEL', KEYS[2], 'archived')
redis.call('HSET', KEYS[2], 'archived', archived)

-- In steps: not with each message.
local step, cut, more = math.floor(hot / 10), nil, 0
for _, key in ipairs({ KEYS[1], KEYS[3] }) do
  local over = redis.call('XLEN', key) - hot
  if over > step then
    if over > 500 then
      over, more = 500, 1
    end
    local gone = redis.call('XRANGE', key, '-', '+', 'COUNT', over)
    for i = #gone, 1, -1 do
      if not is_later(gone[i][1], archived) then
        if not cut or is_later(gone[i][1], cut) then cut = gone[i][1] end
        break
      end
    end
  end
end
local from
if cut then
  from = behind(cut)
  redis.call('XTRIM', KEYS[1], 'MINID', from)
  redis.call('XTRIM', KEYS[3], 'MINID', from)
  redis.call('HSET', KEYS[2], 'hot_from', from)
  redis.call('HDEL', KEYS[2], 'whole')
else
  more = 0
  from = redis.call('HGET', KEYS[2], 'hot_from')
  -- Everything archived is also here: a loss would have been noted (`resume.lua`).
  if not from then redis.call('HSET', KEYS[2], 'whole', '1') end
end
if not from or redis.call('EXISTS', KEYS[5]) == 0 then return more end

-- Remove the state of messages that are not here any more, if the archive has it.
local from_ms = string.match(from, '^(%d+)')
local old = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', '(' .. from_ms, 'LIMIT', 0, 500)
if #old == 0 then return more end
local later = redis.call('XRANGE', KEYS[3], '(' .. archived, '+', 'COUNT', 1001)
if #later > 1000 then return more end
local pending = {}
for _, change in ipairs(later) do
  -- A change that came from another log begins with the end of its id.
  local _, of_ms, of_seq = struct.unpack('>BI6I2', change[2][2], change[2][1] == 'i' and 9 or 1)
  pending[string.format('%.0f-%.0f', of_ms, of_seq)] = true
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local let_go = false
for _, of in ipairs(old) do
  local at_hand = redis.call('HGET', KEYS[6], of)
  local is_fresh = at_hand and struct.unpack('>I6', at_hand) + life > now
  if not pending[of] and not is_fresh then
    redis.call('HDEL', KEYS[4], 'e' .. of, 'r' .. of, 'd' .. of)
    redis.call('ZREM', KEYS[5], of)
    redis.call('HDEL', KEYS[6], of)
    let_go = true
  end
end
if let_go then redis.call('HINCRBY', KEYS[2], 'trims', 1) end
return more
