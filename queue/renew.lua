-- Renews a worker's lease and nothing else, for a worker that computes and cannot make turns meanwhile.
--
-- KEYS  1 workers  2 worker
-- ARGV  1 worker id  2 epoch  3 lease, ms
-- Returns  1; 0 when the worker is fenced, and nothing was done
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[2] then return 0 end
local clock = redis.call('TIME')
redis.call('ZADD', KEYS[1], clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[3]), ARGV[1])
return 1
