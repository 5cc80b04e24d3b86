-- Notes that a node is here, and which versions of the wire it knows, unless it does not fit another node.
--
-- KEYS: a hash. ARGV: the node, the oldest version that it understands, the version that it speaks, the milliseconds for
--       which this holds.
-- Returns nothing if all understand each other. Otherwise notes nothing, and returns what the other node understands
-- and speaks.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest, spoken = tonumber(ARGV[2]), tonumber(ARGV[3])
local nodes = redis.call('HGETALL', KEYS[1])
for i = 1, #nodes, 2 do
  -- A later version may write more after this.
  local other_oldest, other_spoken, ends = string.match(nodes[i + 1], '^(%d+) (%d+) (%d+)')
  if ends and tonumber(ends) < now then
    redis.call('HDEL', KEYS[1], nodes[i])
  elseif ends and nodes[i] ~= ARGV[1] then
    other_oldest, other_spoken = tonumber(other_oldest), tonumber(other_spoken)
    if spoken < other_oldest or other_spoken < oldest then return { other_oldest, other_spoken } end
  end
end
local word = string.format('%s %s %.0f', ARGV[2], ARGV[3], now + ARGV[4])
-- A server whose memory is full refuses a script unless its first write frees memory.
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], word)
redis.call('PEXPIRE', KEYS[1], 600000)
return {}
