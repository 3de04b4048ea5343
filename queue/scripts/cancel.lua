-- Marks a task as cancelled, whether it waits, is delayed or runs. Workers learn of marks from the replies to their turns
-- (turn.lua).
--
-- KEYS  1 result  2 errors  3 cancelled  4 stats  5 answers
-- ARGV  1 id  2 retention of a mark that matches no task, ms  3 maximum number of marks  4 the request, as in once.lua
-- Returns  1 if it was marked; 0 if it has finished, with a result or an error, and nothing was changed
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
redis.call('HLEN', KEYS[4]) -- fails here, before any write, if the key has another type
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[3]))
-- one that is no number, because something else wrote it, becomes one that workers have not seen
if type(redis.pcall('HINCRBY', KEYS[4], 'marks', 1)) ~= 'number' then redis.call('HSET', KEYS[4], 'marks', now) end
return answer(1)
