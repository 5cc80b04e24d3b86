-- Renews one node's lease, and reports all others.
--
-- KEYS: until when each node's lease stands (Unix ms by this server's clock; below 0: it was given back, and is
--       remembered until then).
-- ARGV: deadline, epoch, milliseconds that a lease stands, action: `renew`, `keep` (like `renew`, but puts a missing
--       lease back), `leave`.
-- Returns 0 if the lease is over; else 1 if it stood, or 2 if it was missing, and for each other node its epoch and for
-- how many milliseconds its lease stands (-1: it was given back).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[1]) then
  return redis.error_reply('LATE the caller has given up')
end
local me, life, what = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local held = tonumber(redis.call('HGET', KEYS[1], me) or 0)
if what == 'renew' and held <= now then
  redis.call('HDEL', KEYS[1], me)
  return { 0 }
end
local reply = { held > now and 1 or 2 }
local nodes = redis.call('HGETALL', KEYS[1])
for i = 1, #nodes, 2 do
  local node, stands = nodes[i], tonumber(nodes[i + 1])
  if node ~= me then
    if math.abs(stands) <= now then
      redis.call('HDEL', KEYS[1], node)
    else
      reply[#reply + 1] = node
      reply[#reply + 1] = stands > 0 and stands - now or -1
    end
  end
end
-- A server whose memory is full refuses a script unless its first write frees memory.
redis.call('HDEL', KEYS[1], me)
redis.call('HSET', KEYS[1], me, string.format('%.0f', what == 'leave' and -(now + life) or now + life))
redis.call('PEXPIRE', KEYS[1], 10 * life)
return reply
