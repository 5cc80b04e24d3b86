-- Reads entries of a room, in one view.
--
-- KEYS: the room's stream, its head, its changes, the state of changed messages.
-- ARGV: the first id, the last (the other way round to read backwards), how many, `back` or `on`, whether changes are
--       read too (1 or 0), the entry whose standing is wanted (or nothing), whether there is an archive (1 or 0).
-- Returns the messages; for each its edit and its reactions; the changes; for each the present text of the edit; the
-- newest change that is not kept any more; from where on messages are kept, if some are not; the end of the id of the
-- entry asked about, if it is a deleted message. With an archive also: from where on the room was not trimmed, up to
-- where it is archived, whether everything archived is also here, how often states were removed, up to where the room
-- was deleted, and the first entries of both streams.
local messages = redis.call(ARGV[4] == 'back' and 'XREVRANGE' or 'XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local changes = ARGV[5] == '1' and redis.call('XRANGE', KEYS[3], ARGV[1], ARGV[2], 'COUNT', ARGV[3]) or {}
local became, texts = {}, {}
if redis.call('EXISTS', KEYS[4]) == 1 then
  for i, message in ipairs(messages) do
    became[i] = redis.call('HMGET', KEYS[4], 'e' .. message[1], 'r' .. message[1])
  end
  for i, change in ipairs(changes) do
    -- A change that came from another log begins with the end of its id.
    local what, of_ms, of_seq = struct.unpack('>BI6I2', change[2][2], change[2][1] == 'i' and 9 or 1)
    texts[i] = what == 0 and redis.call('HGET', KEYS[4], string.format('e%.0f-%.0f', of_ms, of_seq))
  end
end
if ARGV[6] == '' and ARGV[7] == '0' then return { messages, became, changes, texts } end
local head = redis.call('HMGET', KEYS[2], 'changes_gone', 'kept_from')
local answer = {
  messages, became, changes, texts, head[1], head[2],
  redis.call('HGET', KEYS[4], 'd' .. ARGV[6]),
}
if ARGV[7] == '1' then
  local behind = redis.call('HMGET', KEYS[2], 'hot_from', 'archived', 'whole', 'trims', 'forgotten')
  for i = 1, 5 do answer[7 + i] = behind[i] end
  for i, key in ipairs({ KEYS[1], KEYS[3] }) do
    local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    answer[12 + i] = first and first[1] or false
  end
end
return answer
