-- Renews a worker's lease and nothing else, while its handler blocks the event loop and it makes no turns.
--
-- KEYS  1 workers  2 worker  3 clock
-- ARGV  1 worker id  2 epoch  3 lease, ms
-- Returns  1; 0 if the worker is fenced, and nothing was changed
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[2] then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Redis allows this command when memory is short, and with it the rest of the script
redis.call('HDEL', KEYS[2], '')
local ms, fresh = queue_time(KEYS[3], now)
if fresh then redis.call('HSET', KEYS[3], 'at', now, 'ms', ms) end
redis.call('HSET', KEYS[2], 'till', ms + tonumber(ARGV[3]))
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
return 1
