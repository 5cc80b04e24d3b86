-- Lets one node lead for a while: the present leader, or else the first that asks.
--
-- KEYS: who leads, since when there has been a leader. ARGV: node, milliseconds until another may lead (0: at once).
-- Returns whether the node leads (1 or 0), and since when there has been a leader (Unix ms by this server's clock).
local leader = redis.call('GET', KEYS[1])
local leads = not leader or leader == ARGV[1]
-- This comes first: a server whose memory is full refuses a script unless its first write frees memory.
if leads then redis.call('DEL', KEYS[1]) end
local since = redis.call('GET', KEYS[2])
if not since then
  local time = redis.call('TIME')
  since = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('SET', KEYS[2], since)
end
if not leads or ARGV[2] == '0' then return { 0, since } end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return { 1, since }
