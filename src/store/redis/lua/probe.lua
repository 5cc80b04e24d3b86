-- Gives each command that the other scripts use once, and leaves nothing behind.
--
-- KEYS: a stream, a hash, a mark: named as a room's. ARGV: feed channel, what to publish there.
redis.call('TIME')
redis.call('PUBLISH', ARGV[1], ARGV[2])
redis.call('EXISTS', KEYS[1])
redis.call('XADD', KEYS[1], '*', 'm', '')
redis.call('PEXPIRE', KEYS[1], 60000)
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', '1')
redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
redis.call('HSET', KEYS[2], 'last', '0-0')
redis.call('PEXPIRE', KEYS[2], 60000)
redis.call('HGET', KEYS[2], 'last')
redis.call('HMGET', KEYS[2], 'last')
redis.call('HGETALL', KEYS[2])
redis.call('HEXISTS', KEYS[2], 'last')
redis.call('HVALS', KEYS[2])
redis.call('HDEL', KEYS[2], 'last')
redis.call('SET', KEYS[3], '', 'NX', 'EX', 60)
redis.call('GET', KEYS[3])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return 1
