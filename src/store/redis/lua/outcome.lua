-- Returns the outcome of a batch whose answer was lost.
--
-- KEYS: where `append.lua` notes the outcome. ARGV: the batch's mark (8 bytes), its deadline.
-- Returns what `append.lua` answered; 0 if it did nothing and never will; 1 if it may still come.
local noted = redis.call('GET', KEYS[1])
if noted and string.sub(noted, 1, 8) == ARGV[1] then return string.sub(noted, 9) end
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[2]) then return 0 end
return 1
