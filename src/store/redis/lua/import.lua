-- Imports messages and changes of a room from another log, with their ids, all or none. They are not published.
--
-- KEYS: the room's stream, its head, its changes, the state of changed messages, which those are, then a key for each
--       entry with a reference that is still remembered.
-- ARGV: deadline (Unix ms by this server's clock), the id imported last and its entry (both empty if there is none), the
--       last id of these and its entry; from where on messages are kept if older ones are not, the newest change that is
--       not kept any more (or nothing); then for each entry six: `message` or `change`, its entry id, its body, for how
--       many more seconds its reference is remembered (0: it has none), and for a message its edit and its reactions (or
--       nothing).
-- Returns 1, or 0 if the room is not as the caller expected: others have written there.
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the caller has given up')
end
local head = redis.call('HMGET', KEYS[2], 'last', 'imported')
local last, imported = head[1] or '', head[2] or ''
-- The same entries may come twice, if the first answer was lost with its connection.
if imported == ARGV[4] then return 1 end
if imported ~= ARGV[2] or last ~= ARGV[3] then return 0 end
if last == '' and redis.call('EXISTS', KEYS[1], KEYS[3]) > 0 then return 0 end

local function became(entry, ms, field, what)
  redis.call('HSET', KEYS[4], field .. entry, what)
  redis.call('ZADD', KEYS[5], ms, entry)
end

local reference = 6
for i = 8, #ARGV, 6 do
  local entry, body, life, edit, reactions = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  -- The body begins with the part of its id that the entry's id lacks.
  local said = entry .. ':' .. string.sub(body, 1, 8)
  if ARGV[i] == 'message' then
    local ms = string.match(entry, '^%d+')
    redis.call('XADD', KEYS[1], entry, 'i', body)
    if edit ~= '' then became(entry, ms, 'e', edit) end
    if reactions ~= '' then became(entry, ms, 'r', reactions) end
  else
    redis.call('XADD', KEYS[3], entry, 'i', body)
    local what, of_ms, of_seq = struct.unpack('>BI6I2', body, 9)
    local of = string.format('%.0f-%.0f', of_ms, of_seq)
    local end_of_id = string.sub(body, 18, 25)
    if what == 1 then became(of, string.format('%.0f', of_ms), 'd', end_of_id) end
    said = of .. ':' .. end_of_id
  end
  if life ~= '0' then
    redis.call('SET', KEYS[reference], said, 'EX', life)
    reference = reference + 1
  end
end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[2], 'kept_from', ARGV[6]) end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[2], 'changes_gone', ARGV[7]) end
redis.call('HSET', KEYS[2], 'last', ARGV[5], 'imported', ARGV[4])
return 1
