-- Lets one node lead for a while: the present leader, or else the first that asks.
--
-- KEYS: who leads, since when there has been a leader. ARGV: node, milliseconds until another may lead (0: at once).
-- Returns whether the node leads (1 or 0), and since when there has been a leader (Unix ms by this server's clock).
local since = redis.call('GET', KEYS[2])
if not since then
  local time = redis.call('TIME')
  since = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('SET', KEYS[2], since)
end
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return { 0, since } end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return { 0, since }
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return { 1, since }
