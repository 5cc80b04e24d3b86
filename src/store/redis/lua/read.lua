-- Reads entries of a room, in one view.
--
-- KEYS: the room's stream, its head, its changes, the state of changed messages, which those are.
-- ARGV: the first id, the last (the other way round to read backwards), how many, `back` or `on`, whether changes are
--       read too (1 or 0), the entry whose standing is wanted (or nothing), whether there is an archive (0: no; 1: yes;
--       2: yes, and the caller goes on there).
-- Returns the messages; for each its edit and its reactions; the changes; for each the present text of the edit; the
-- newest change that is not kept any more; from where on messages are kept, if some are not; the end of the id of the
-- entry asked about, if it is a deleted message. With an archive also: from where on the room was not trimmed, up to
-- where it is archived, whether everything archived is also here, how often states were removed, up to where the room
-- was deleted, and the first entries of both streams. For a caller that goes on in the archive also the entries of all
-- changed messages that it may find there, and their states (edit, reactions, end of the id if deleted), if those are
-- few.
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
if ARGV[7] ~= '0' then
  local behind = redis.call('HMGET', KEYS[2], 'hot_from', 'archived', 'whole', 'trims', 'forgotten')
  for i = 1, 5 do answer[7 + i] = behind[i] end
  for i, key in ipairs({ KEYS[1], KEYS[3] }) do
    local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    answer[12 + i] = first and first[1] or false
  end
  if ARGV[7] == '2' and not behind[3] then
    local function ms(id) return tonumber(id and string.match(id, '%d+')) end
    -- Nothing later than this comes from the archive.
    local upto
    if ARGV[4] == 'back' then
      if #messages < tonumber(ARGV[3]) then
        local oldest = messages[#messages]
        upto = ms(oldest and oldest[1] or ARGV[1]) or '+inf'
      end
    elseif answer[13] or answer[14] then
      upto = 0
      for _, id in ipairs({ answer[13] or '0', answer[14] or '0', head[1] or '0', head[2] or '0', behind[1] or '0' }) do
        upto = math.max(upto, ms(id))
      end
      if upto < (ms(ARGV[1]) or 0) then upto = nil end
    else
      upto = '+inf'
    end
    if upto then
      local few = 32
      local changed = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', upto, 'LIMIT', 0, few + 1)
      if #changed <= few then
        local states = {}
        for i, of in ipairs(changed) do
          states[i] = redis.call('HMGET', KEYS[4], 'e' .. of, 'r' .. of, 'd' .. of)
        end
        answer[15], answer[16] = changed, states
      end
    end
  end
end
return answer
