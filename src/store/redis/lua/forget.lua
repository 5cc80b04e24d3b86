-- Deletes a room's messages. Its head stays, so that later ids are greater and older references count no more.
--
-- KEYS: the room's stream, its head.
local last = redis.call('HGET', KEYS[2], 'last')
if last then redis.call('HSET', KEYS[2], 'forgotten', last) end
redis.call('DEL', KEYS[1])
return 0
