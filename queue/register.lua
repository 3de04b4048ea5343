-- Begins a new epoch of a worker. Its earlier epoch, if any, must have been reaped before (reap.lua).
--
-- KEYS  1 workers  2 worker  3 stats  4 load  5 leaving
-- ARGV  1 worker id  2 lease, ms  then field, value, … that describe the worker
-- Returns  the new epoch; 0 when a living worker has that id, or its remains are not swept yet
-- Before: no worker of that id.  After: it has a lease, and nobody else ever had this epoch. If it was chosen to leave
-- before it came (drain.lua), it drains from the start.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local epoch = redis.call('HINCRBY', KEYS[3], 'epoch', 1)
redis.call('HSET', KEYS[2], 'epoch', epoch, 'turn', 0, 'seq', 0, 'state', 'starting', 'started', now, unpack(ARGV, 3))
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[4], ARGV[1], 0)
local leaving = redis.call('ZSCORE', KEYS[5], ARGV[1])
if leaving then redis.call('HSET', KEYS[2], 'drain', leaving) end
return epoch
