-- Appends the messages of one room and publishes them, all or none.
--
-- KEYS: the room's stream, its head, then a key for each message with a reference.
-- ARGV: deadline (Unix ms by this server's clock), feed channel, room, messages kept (0: all), seconds for which a
--       reference is remembered; then for each message what to do with it (`keep`, `once`, `pass`) and its body.
-- Returns 9 bytes a message: 1 if its reference had made a message before (2 if that came from another log), else 0; then
-- that message's id. After them 8 bytes for each 2: the rest of its id.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[1]) then
  -- This waited in a socket while the server stood still; its sender has been told that it failed.
  return redis.error_reply('LATE the caller has given up')
end

local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end

local head = redis.call('HMGET', KEYS[2], 'last', 'forgotten')
local last = head[1]
if not last then
  -- A head that was lost alone must not make ids that the stream refuses.
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  last = newest[1] and newest[1][1]
end
local ms, seq = 0, 0
if last then ms, seq = parse(last) end
local gone_ms, gone_seq = -1, 0
if head[2] then gone_ms, gone_seq = parse(head[2]) end

local channel, room, keep, remember = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local feed = { struct.pack('>BI2', 1, #room), room, struct.pack('>I6I2', ms, seq) }
local reply, tails = {}, {}
local reference = 3
local stored = false
for i = 6, #ARGV, 2 do
  local action, body = ARGV[i], ARGV[i + 1]
  local first
  if action == 'once' then
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
    -- 12 bits of sequence go into a message id; beyond them the time runs ahead, as it does when the clock goes back.
    if now > ms then
      ms, seq = now, 0
    elseif seq < 4095 then
      seq = seq + 1
    else
      ms, seq = ms + 1, 0
    end
    local id = string.format('%.0f-%.0f', ms, seq)
    if action ~= 'pass' then
      redis.call('XADD', KEYS[1], id, 'm', body)
      stored = true
    end
    if action == 'once' then
      redis.call('SET', KEYS[reference], id, 'EX', remember)
    end
    feed[#feed + 1] = struct.pack('>I6I2I4', ms, seq, #body)
    feed[#feed + 1] = body
    first = struct.pack('>BI6I2', 0, ms, seq)
  end
  if action == 'once' then reference = reference + 1 end
  reply[#reply + 1] = first
end
if #feed > 3 then
  if stored and keep ~= '0' then redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', keep) end
  redis.call('HSET', KEYS[2], 'last', string.format('%.0f-%.0f', ms, seq))
  redis.call('PUBLISH', channel, table.concat(feed))
end
return table.concat(reply) .. table.concat(tails)
