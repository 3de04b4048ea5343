-- Keeps the answers of requests that change something, so that one that is sent again, because its reply was lost with the connection, gets the
-- answer of the first time, and changes nothing. Joined in front of scripts whose second run would answer something else.
--
-- KEYS  the last one: answers, one hash per client
-- ARGV  the last one: number of the request, and those of earlier ones whose answers have arrived, each behind a space
-- `answer(reply)` is called with the reply after the first write, which Redis has then allowed. What changed nothing has no answer that is
-- kept: it may be asked again.
local ANSWERS, REQUEST = KEYS[#KEYS], ARGV[#ARGV]
local number = string.match(REQUEST, '^%d+')
local told = redis.call('HGET', ANSWERS, number)
if told then return cmsgpack.unpack(told) end

local function answer(reply)
  local arrived = {}
  for one in string.gmatch(REQUEST, ' (%d+)') do arrived[#arrived + 1] = one end
  if #arrived > 0 then redis.call('HDEL', ANSWERS, unpack(arrived)) end
  redis.call('HSET', ANSWERS, number, cmsgpack.pack(reply))
  -- the first one of many
  if redis.call('HLEN', ANSWERS) == 1 then redis.call('EXPIRE', ANSWERS, 3600) end
  return reply
end
