-- Renews a worker's lease and nothing else, while its handler blocks the event loop and it makes no turns.
--
-- KEYS  1 workers  2 worker  3 clock
-- ARGV  1 worker id  2 epoch  3 lease, ms
-- Returns  1; 0 if the worker is fenced, and nothing was changed
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[2] then return 0 end
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

-- Redis allows this command when memory is short, and with it the rest of the script
redis.call('HDEL', KEYS[2], '')
local ms, fresh = queue_time(KEYS[3], now)
if fresh then redis.call('HSET', KEYS[3], 'at', now, 'ms', ms) end
redis.call('HSET', KEYS[2], 'till', ms + tonumber(ARGV[3]))
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
return 1
