-- Begins a new epoch of a worker. An earlier epoch must be reaped before (reap.lua).
--
-- KEYS  1 workers  2 worker  3 load  4 leaving  5 clock
-- ARGV  1 worker id  2 lease, ms  3 a random number below 1000  4 id of the request  then field, value, … that describe the worker
-- Returns  the new epoch, also to a request that is sent again because its reply was lost; 0 while the id has another hash: of a living
--          worker, or of one that was not reaped yet
-- Before: no worker of that id.  After: it has a lease and a unique epoch, made of the time and a random number: a counter would
-- repeat itself when a failover or a restart takes the server back to an older state. If it was ordered to drain before it
-- registered (drain.lua), it drains from the start.
if redis.call('EXISTS', KEYS[2]) == 1 then
  local made, epoch = unpack(redis.call('HMGET', KEYS[2], 'request', 'epoch'))
  return made == ARGV[4] and tonumber(epoch) or 0
end
redis.call('ZCARD', KEYS[1]) -- fails here, before any write, if the key has another type
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local ms = queue_time(KEYS[5], now)
redis.call('HSET', KEYS[5], 'at', now, 'ms', ms, 'lease', ARGV[2])
-- exact up to 2^53, reached in the year 2255
local epoch = now * 1000 + tonumber(ARGV[3])
-- Redis keeps a small hash as a list, in which each turn would look for each field from end to end: a long value makes it a
-- table for as long as the key lives
redis.call('HSET', KEYS[2], '', string.rep(' ', 65))
redis.call('HSET', KEYS[2], 'epoch', string.format('%.0f', epoch), 'turn', 0, 'seq', 0, 'state', 'starting',
  'started', now, 'till', ms + tonumber(ARGV[2]), 'server', server_run(), 'request', ARGV[4],
  unpack(ARGV, 5))
redis.call('HDEL', KEYS[2], '')
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.pcall('HSET', KEYS[3], ARGV[1], 0)
local leaving = redis.pcall('ZSCORE', KEYS[4], ARGV[1])
if type(leaving) == 'string' then redis.call('HSET', KEYS[2], 'drain', leaving) end
return epoch
