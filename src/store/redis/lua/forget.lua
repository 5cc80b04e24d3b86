-- Deletes a room's messages and changes. Its head stays, so that later ids are greater and older references count no more.
--
-- KEYS: the room's stream, its head, its changes, what messages have become, which those are, archived ones at hand.
-- Returns the last id given out, if there is one.
local last = redis.call('HGET', KEYS[2], 'last')
if last then redis.call('HSET', KEYS[2], 'forgotten', last) end
-- Whoever archives looks at the room again.
redis.call('HDEL', KEYS[2], 'archived')
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
return last
