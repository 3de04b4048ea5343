-- Begins a new epoch of a worker. An earlier epoch must be reaped before (reap.lua).
--
-- KEYS  1 workers  2 worker  3 load  4 leaving  5 clock
-- ARGV  1 worker id  2 lease, ms  3 a random number below 1000  then field, value, … that describe the worker
-- Returns  the new epoch; 0 while the id has a hash: of a living worker, or of one that was not reaped yet
-- Before: no worker of that id.  After: it has a lease and a unique epoch, made of the time and a random number: a counter would
-- repeat itself when a failover or a restart takes the server back to an older state. If it was ordered to drain before it
-- registered (drain.lua), it drains from the start.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('ZCARD', KEYS[1]) -- fails here, before any write, if the key has another type
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- Queue time, ms: leases are measured by it. It advances while Redis accepts writes of this queue, whatever steps the server's
-- clock makes; while Redis is away or refuses writes it advances by `most` at most, within which a healthy worker makes a
-- turn. turn/rare.lua, renew.lua, register.lua, reap.lua and overdue.lua have the same function.
local function queue_time(key, now)
  local at, ms, lease = unpack(redis.call('HMGET', key, 'at', 'ms', 'lease'))
  at, ms, lease = tonumber(at), tonumber(ms), tonumber(lease)
  local most = lease and lease > 0 and math.min(2000, lease / 3) or 2000
  -- one that was lost, or is no number, begins anew at the server's time: no lease of before ends later than that
  if not (at and at == at and ms and ms >= 0 and ms < 2 ^ 53) then at, ms = now, now end
  local passed = now - at
  -- written only a few times per lease
  local fresh = math.abs(passed) >= most / 8 or passed == 0
  return fresh and ms + math.max(0, math.min(passed, most)) or ms, fresh
end

local ms = queue_time(KEYS[5], now)
redis.call('HSET', KEYS[5], 'at', now, 'ms', ms, 'lease', ARGV[2])
-- exact up to 2^53, reached in the year 2255
local epoch = now * 1000 + tonumber(ARGV[3])
-- the run of this server: see note.lua
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
-- Redis keeps a small hash as a list, in which each turn would look for each field from end to end: a long value makes it a
-- table for as long as the key lives
redis.call('HSET', KEYS[2], '', string.rep(' ', 65))
redis.call('HSET', KEYS[2], 'epoch', string.format('%.0f', epoch), 'turn', 0, 'seq', 0, 'state', 'starting',
  'started', now, 'till', ms + tonumber(ARGV[2]), 'server', server, unpack(ARGV, 4))
redis.call('HDEL', KEYS[2], '')
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.pcall('HSET', KEYS[3], ARGV[1], 0)
local leaving = redis.pcall('ZSCORE', KEYS[4], ARGV[1])
if type(leaving) == 'string' then redis.call('HSET', KEYS[2], 'drain', leaving) end
return epoch
