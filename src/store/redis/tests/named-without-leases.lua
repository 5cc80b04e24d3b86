-- Who has a name in a room.
--
-- KEYS: as in names.lua. Returns what is noted of each, those of nodes that are gone left out.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local nodes = redis.call('HGETALL', KEYS[1])
local alive = {}
for i = 1, #nodes, 2 do alive[nodes[i]] = tonumber(nodes[i + 1]) > now end
local named = {}
for _, held in ipairs(redis.call('HVALS', KEYS[2])) do
  if alive[string.sub(held, 1, 16)] then named[#named + 1] = held end
end
return named
