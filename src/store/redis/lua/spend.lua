-- Spends a token.
--
-- KEYS: the token's mark. ARGV: deadline (Unix ms by this server's clock), seconds for which to keep the mark, a number
-- that only this attempt has.
local time = redis.call('TIME')
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[1]) then
  -- This waited in a socket while the server stood still. Its handshake has been refused.
  return redis.error_reply('LATE the caller has given up')
end
if redis.call('SET', KEYS[1], ARGV[3], 'NX', 'EX', ARGV[2]) then return 1 end
-- The same attempt may come twice, if the first answer was lost with its connection.
if redis.call('GET', KEYS[1]) == ARGV[3] then return 1 end
return 0
