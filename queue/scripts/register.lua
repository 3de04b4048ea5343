-- Begins a new epoch of a worker. Its earlier epoch, if any, must have been reaped before (reap.lua).
--
-- KEYS  1 workers  2 worker  3 load  4 leaving  5 clock
-- ARGV  1 worker id  2 lease, ms  3 a random number below 1000  then field, value, … that describe the worker
-- Returns  the new epoch; 0 when a living worker has that id, or its remains are not swept yet
-- Before: no worker of that id.  After: it has a lease, and nobody else ever had this epoch: it is made of the time and of
-- chance, as a counter would repeat itself after a failover or a restart that takes the server back. If it was chosen to
-- leave before it came (drain.lua), it drains from the start.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- Queue time, ms: a clock that runs while Redis takes writes of this queue, and by which leases are measured. No step of
-- the server's clock moves it, and while Redis is away or refuses to write it stands still, but for `most`: a healthy worker
-- makes a turn within that. turn.lua, renew.lua, register.lua, reap.lua and overdue.lua have the same function.
local function queue_time(key, now)
  local at, ms, lease = unpack(redis.call('HMGET', key, 'at', 'ms', 'lease'))
  local most = math.min(2000, (tonumber(lease) or 15000) / 3)
  at, ms = tonumber(at) or now, tonumber(ms) or 0
  local passed = now - at
  -- written some times a lease only
  local fresh = math.abs(passed) >= most / 8 or passed == 0
  return fresh and ms + math.max(0, math.min(passed, most)) or ms, fresh
end

local ms = queue_time(KEYS[5], now)
redis.call('HSET', KEYS[5], 'at', now, 'ms', ms, 'lease', ARGV[2])
-- whole up to 2^53, which is in the year 2255
local epoch = now * 1000 + tonumber(ARGV[3])
redis.call('HSET', KEYS[2], 'epoch', string.format('%.0f', epoch), 'turn', 0, 'seq', 0, 'state', 'starting',
  'started', now, 'till', ms + tonumber(ARGV[2]), unpack(ARGV, 4))
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], 0)
local leaving = redis.call('ZSCORE', KEYS[4], ARGV[1])
if leaving then redis.call('HSET', KEYS[2], 'drain', leaving) end
return epoch
