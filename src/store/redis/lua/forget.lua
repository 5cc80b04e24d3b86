-- Deletes a room's messages and changes. Its head stays, so that later ids are greater and older references count no more.
--
-- KEYS: the room's stream, its head, its changes, what messages have become, which those are.
local last = redis.call('HGET', KEYS[2], 'last')
if last then redis.call('HSET', KEYS[2], 'forgotten', last) end
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4], KEYS[5])
return 0
