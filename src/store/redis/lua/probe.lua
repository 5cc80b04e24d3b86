-- Runs each command that the other scripts use once, and leaves nothing behind.
--
-- KEYS: a stream, a hash, a mark: named like a room's. ARGV: the channel of all nodes, what to publish
--       there, the command that publishes to the members of a room, a channel like a room's.
local function try(name, ...)
  local answer = redis.pcall(name, ...)
  -- Servers don't say which command it was.
  if type(answer) == 'table' and answer.err then error(name .. ': ' .. answer.err) end
end
try('TIME')
try('PUBLISH', ARGV[1], ARGV[2])
try(ARGV[3], ARGV[4], ARGV[2])
try('EXISTS', KEYS[1])
try('XADD', KEYS[1], '*', 'm', '')
try('PEXPIRE', KEYS[1], 60000)
try('XTRIM', KEYS[1], 'MAXLEN', '~', '1')
try('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
try('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
try('XLEN', KEYS[1])
try('XDEL', KEYS[1], '1-1')
try('PERSIST', KEYS[1])
try('RENAME', KEYS[1], KEYS[2])
try('DEL', KEYS[2])
try('HSET', KEYS[2], 'last', '0-0')
try('PEXPIRE', KEYS[2], 60000)
try('HGET', KEYS[2], 'last')
try('HMGET', KEYS[2], 'last')
try('HGETALL', KEYS[2])
try('HEXISTS', KEYS[2], 'last')
try('HVALS', KEYS[2])
try('HKEYS', KEYS[2])
try('HINCRBY', KEYS[2], 'count', 1)
try('HDEL', KEYS[2], 'last')
try('SET', KEYS[3], '', 'NX', 'EX', 60)
try('GET', KEYS[3])
try('DEL', KEYS[3])
try('ZADD', KEYS[3], 1, 'm')
try('PEXPIRE', KEYS[3], 60000)
try('ZRANGEBYSCORE', KEYS[3], '-inf', '+inf')
try('ZREM', KEYS[3], 'm')
try('DEL', KEYS[1], KEYS[2], KEYS[3])
return 1
