-- Deletes a room's messages and changes. Its head stays, so later ids are greater, and older references don't count.
--
-- KEYS: the room's stream, its head, its changes, state of changed messages, which those are, archived ones at hand.
-- Returns the last id given out, if there is one.
local last = redis.call('HGET', KEYS[2], 'last')
if last then redis.call('HSET', KEYS[2], 'forgotten', last) end
-- The node that archives reads the room again.
redis.call('HDEL', KEYS[2], 'archived')
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
return last
