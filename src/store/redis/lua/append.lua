-- Appends messages and changes of one room and publishes them, all or none.
--
-- KEYS: the room's stream, its head, its changes (a stream too), the state of changed messages (a hash), which those are
--       (a sorted set), where the outcome is noted, archived messages at hand (a hash), then a key for each message
--       with a reference.
-- ARGV: deadline (Unix ms by this server's clock), the channel to publish on, room, messages kept (0: all), seconds for
--       which a reference is remembered, the end of this room's ids (8 bytes), the kind of frame to publish (4 if there
--       are changes, else 1), the mark of this batch (8 bytes), seconds for which the outcome is noted, a lower bound
--       for the new ids (8 bytes), whether there is an archive (1 or 0), the command that publishes, the channel on
--       which to tell that something was stored (empty: none) and what to tell there of who said it; then for each
--       entry an action and its body: `keep`, `once`, `pass` or, for a message that answers another, `keep>` and
--       `once>`; `change`.
-- Returns 9 bytes per entry, and after them 8 bytes for each 2 (the rest of its id). The first of the 9 is the outcome;
-- the entry's id follows:
--   0 stored; 1 its reference had made a message before (2: one from another log); 3 stored, but the message that it
--   answers is not here; 16 and more: the change is refused, the id is 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[1]) then
  -- This waited in a socket while the server stood still. Its sender has been told that it failed.
  return redis.error_reply('LATE the caller has given up')
end

local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end

-- All or none: if one of these is forbidden, none is done. After the first write, only a missing right can cause a
-- refusal.
local channel, kind, publish, news = ARGV[2], ARGV[7], ARGV[12], ARGV[13]
local may = redis.acl_check_cmd
if may then
  local all = may(publish, channel, '') and (news == '' or may('PUBLISH', news, '')) and may('SET', KEYS[6], '') and may('HSET', KEYS[2], 'last', '')
    and may('XTRIM', KEYS[1], 'MAXLEN', '0')
  if kind == '4' then
    all = all and may('HDEL', KEYS[4], '') and may('XDEL', KEYS[1], '0-1') and may('ZADD', KEYS[5], '0', '')
  end
  if not all then return redis.error_reply('NOPERM this user may not do all that storing a message needs') end
else
  -- Before 7.0 only trying shows it. This frame means nothing to those that receive it.
  redis.call(publish, channel, '\3')
  if news ~= '' then redis.call('PUBLISH', news, '\3') end
end

local head = redis.call('HMGET', KEYS[2], 'last', 'forgotten')
local last = head[1]
local ms, seq = 0, 0
if last then
  ms, seq = parse(last)
else
  -- If only the head was lost, the new ids must still be ones that the streams accept.
  for _, key in ipairs({ KEYS[1], KEYS[3] }) do
    local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
    if newest[1] then
      local other_ms, other_seq = parse(newest[1][1])
      if other_ms > ms or (other_ms == ms and other_seq > seq) then ms, seq = other_ms, other_seq end
    end
  end
end
local before_ms, before_seq = ms, seq
-- Messages that clients have seen may have been lost: no id is given out twice.
local floor_ms, floor_seq = struct.unpack('>I6I2', ARGV[10])
if floor_ms > ms or (floor_ms == ms and floor_seq > seq) then ms, seq = floor_ms, floor_seq end
local gone_ms, gone_seq = -1, 0
if head[2] then gone_ms, gone_seq = parse(head[2]) end

local room, keep, remember, tail, archived = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[11] == '1'

-- An id has 12 bits of sequence. Beyond them the time runs ahead, as it does when the clock goes back.
local written_ms, written
local function next_id()
  if now > ms then
    ms, seq = now, 0
  elseif seq < 4095 then
    seq = seq + 1
  else
    ms, seq = ms + 1, 0
  end
  -- Most entries of a batch have the same time: it is written once.
  if ms ~= written_ms then written_ms, written = ms, string.format('%.0f-', ms) end
  return written .. seq
end

-- Returns a message's body, and where its text part begins in it. Its id is the entry's and `end_of_id`.
local function find(entry, end_of_id)
  local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
  if not found then
    local at_hand = redis.call('HGET', KEYS[7], entry)
    if at_hand and string.sub(at_hand, 7, 14) == end_of_id then return at_hand, 15 end
    return nil
  end
  local body = found[2][2]
  if found[2][1] == 'i' then
    if string.sub(body, 1, 8) == end_of_id then return body, 9 end
  elseif tail == end_of_id then
    return body, 1
  end
  return nil
end

-- Makes a change. Its body (see `wire.rs`) has the conditions, then what is published. Returns the reason for a
-- refusal, or what is kept of the change.
local function change(body)
  local reach, since = struct.unpack('>BI6', body)
  local what, of_ms, of_seq = struct.unpack('>BI6I2', body, 8)
  local end_of_id = string.sub(body, 17, 24)
  local by_length = struct.unpack('>I2', body, 25)
  local by, rest = string.sub(body, 27, 26 + by_length), string.sub(body, 27 + by_length)
  local of = string.format('%.0f-%.0f', of_ms, of_seq)
  local message, at = find(of, end_of_id)
  if not message then return 16 end
  local sender_length, extra_length = struct.unpack('>I2I4', message, at)
  if what < 2 and reach == 0 and string.sub(message, at + 6, at + 5 + sender_length) ~= by then return 17 end
  if what == 0 then
    if of_ms < since then return 18 end
    local edited = redis.call('HGET', KEYS[4], 'e' .. of)
    if extra_length == 4294967295 then extra_length = 0 end
    local text = edited and string.sub(edited, 9) or string.sub(message, at + 6 + sender_length + extra_length)
    if text == rest then return 19 end
    local id = next_id()
    redis.call('HSET', KEYS[4], 'e' .. of, struct.pack('>I6I2', ms, seq) .. rest)
    redis.call('ZADD', KEYS[5], of_ms, of)
    redis.call('XADD', KEYS[3], id, 'c', string.sub(body, 8, 26 + by_length))
  elseif what == 1 then
    redis.call('XDEL', KEYS[1], of)
    redis.call('HDEL', KEYS[4], 'e' .. of, 'r' .. of)
    redis.call('HDEL', KEYS[7], of)
    redis.call('HSET', KEYS[4], 'd' .. of, end_of_id)
    redis.call('ZADD', KEYS[5], of_ms, of)
    redis.call('XADD', KEYS[3], next_id(), 'c', string.sub(body, 8))
  else
    local known = redis.call('HGET', KEYS[4], 'r' .. of)
    local all = known and cjson.decode(known) or {}
    local place, who
    for i, reaction in ipairs(all) do
      if reaction[1] == rest then
        place = i
        for j = 2, #reaction do
          if reaction[j] == by then who = j end
        end
      end
    end
    if (what == 2) == (who ~= nil) then return 19 end
    if what == 2 then
      if place and #all[place] > 1000 then return 20 end
      if not place then
        if #all >= 20 then return 20 end
        all[#all + 1] = { rest }
        place = #all
      end
      table.insert(all[place], by)
    else
      table.remove(all[place], who)
      if #all[place] == 1 then table.remove(all, place) end
    end
    -- Also written when the last reaction is gone: the archive may still have some.
    redis.call('HSET', KEYS[4], 'r' .. of, #all > 0 and cjson.encode(all) or '[]')
    redis.call('ZADD', KEYS[5], of_ms, of)
    redis.call('XADD', KEYS[3], next_id(), 'c', string.sub(body, 8))
  end
  return nil, string.sub(body, 8)
end

-- What each entry needs is looked up once.
local call, pack, log, mixed = redis.call, struct.pack, KEYS[1], kind == '4'
local feed = { struct.pack('>BI2', tonumber(kind), #room), room, struct.pack('>I6I2', before_ms, before_seq) }
local function tell(is_change, body)
  local place = #feed + 1
  if mixed then
    feed[place] = pack('>I6I2BI4', ms, seq, is_change, #body)
  else
    feed[place] = pack('>I6I2I4', ms, seq, #body)
  end
  feed[place + 1] = body
end

local reply, tails = {}, {}
local reference = 8
local stored, changed = false, false
for i = 15, #ARGV, 2 do
  local action, body = ARGV[i], ARGV[i + 1]
  local first
  if action == 'change' then
    local refused, told = change(body)
    if refused then
      first = struct.pack('>BI6I2', refused, 0, 0)
    else
      changed = true
      tell(1, told)
      first = struct.pack('>BI6I2', 0, ms, seq)
    end
  else
    local once = action == 'once' or action == 'once>'
    if once then
      local id = redis.call('GET', KEYS[reference])
      if id then
        local first_ms, first_seq = parse(id)
        if first_ms > gone_ms or (first_ms == gone_ms and first_seq > gone_seq) then
          local tail = string.match(id, ':(........)$')
          first = struct.pack('>BI6I2', tail and 2 or 1, first_ms, first_seq)
          tails[#tails + 1] = tail
        end
      end
    end
    if not first then
      local outcome = 0
      if action == 'keep>' or action == 'once>' then
        -- The other message's id comes before everything else that is noted about the message.
        local at = 8 + struct.unpack('>I2', body)
        local other = string.sub(body, at, at + 31)
        local other_ms = tonumber(string.sub(other, 1, 12), 16)
        local other_seq = tonumber(string.sub(other, 14, 16), 16)
        local end_of_id = {}
        for j = 17, 31, 2 do end_of_id[#end_of_id + 1] = string.char(tonumber(string.sub(other, j, j + 1), 16)) end
        -- Two bits of an id are its variant.
        end_of_id[1] = string.char(string.byte(end_of_id[1]) % 64)
        if not find(string.format('%.0f-%.0f', other_ms, other_seq), table.concat(end_of_id)) then
          outcome = 3
          body = string.sub(body, 1, at - 1) .. string.rep('0', 32) .. string.sub(body, at + 32)
        end
      end
      local id = next_id()
      if action ~= 'pass' then
        call('XADD', log, id, 'm', body)
        stored = true
      end
      if once then
        redis.call('SET', KEYS[reference], id, 'EX', remember)
      end
      tell(0, body)
      first = pack('>BI6I2', outcome, ms, seq)
    end
    if once then reference = reference + 1 end
  end
  reply[#reply + 1] = first
end
local answer = table.concat(reply) .. table.concat(tails)
-- A caller that loses the answer finds it here.
redis.call('SET', KEYS[6], ARGV[8] .. answer, 'EX', ARGV[9])
if #feed > 3 then
  if stored and keep ~= '0' and redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', keep) > 0 then
    -- Delete the state of messages that are not kept any more.
    local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    if oldest then redis.call('HSET', KEYS[2], 'kept_from', oldest[1]) end
    -- With an archive, the node that archives does this once the archive has that state.
    if oldest and not archived and redis.call('EXISTS', KEYS[5]) == 1 then
      local oldest_ms = parse(oldest[1])
      redis.call('XTRIM', KEYS[3], 'MINID', oldest[1])
      local gone = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', '(' .. string.format('%.0f', oldest_ms), 'LIMIT', 0, 1000)
      for _, of in ipairs(gone) do
        redis.call('HDEL', KEYS[4], 'e' .. of, 'r' .. of, 'd' .. of)
        redis.call('ZREM', KEYS[5], of)
      end
    end
  end
  if changed and keep ~= '0' then
    local too_many = redis.call('XLEN', KEYS[3]) - tonumber(keep)
    if too_many > 100 then
      local gone = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', too_many)
      redis.call('HSET', KEYS[2], 'changes_gone', gone[#gone][1])
      redis.call('XTRIM', KEYS[3], 'MAXLEN', keep)
    end
  end
  redis.call('HSET', KEYS[2], 'last', string.format('%.0f-%.0f', ms, seq))
  redis.call(publish, channel, table.concat(feed))
  if news ~= '' then
    redis.call('PUBLISH', news, struct.pack('>BI2', 5, #room) .. room .. struct.pack('>I6I2', ms, seq) .. ARGV[14])
  end
end
return answer
