-- Begins a new epoch of a worker. Its earlier epoch, if any, must have been reaped before (reap.lua).
--
-- KEYS  1 workers  2 worker  3 load  4 leaving
-- ARGV  1 worker id  2 lease, ms  3 a random number below 1000  then field, value, … that describe the worker
-- Returns  the new epoch; 0 when a living worker has that id, or its remains are not swept yet
-- Before: no worker of that id.  After: it has a lease, and nobody else ever had this epoch: it is made of the time and of
-- chance, as a counter would repeat itself after a failover or a restart that takes the server back. If it was chosen to
-- leave before it came (drain.lua), it drains from the start.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- whole up to 2^53, which is in the year 2255
local epoch = now * 1000 + tonumber(ARGV[3])
redis.call('HSET', KEYS[2], 'epoch', string.format('%.0f', epoch), 'turn', 0, 'seq', 0, 'state', 'starting',
  'started', now, unpack(ARGV, 4))
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], 0)
local leaving = redis.call('ZSCORE', KEYS[4], ARGV[1])
if leaving then redis.call('HSET', KEYS[2], 'drain', leaving) end
return epoch
