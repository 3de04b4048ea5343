-- Who has not renewed a lease in time, and the turn of whoever looks: it lets queue time pass where no worker does.
--
-- KEYS  1 workers  2 clock
-- ARGV  1 what the keys of workers' hashes begin with  2 the most workers  3 the longest id, bytes
-- Returns  the ids of workers whose lease is over, some of them when they are many
-- A worker is only looked at when its deadline by the server's clock is over, or so far away that this clock was set back.
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

-- Whether a lease is over: by queue time, or, of a version before, by the server's clock. Somebody may end one by hand with a
-- deadline of 0 or 1. reap.lua and overdue.lua have the same function.
local function is_over(deadline, till, now, ms)
  if till and deadline > 1 then return till <= ms end
  return deadline <= now
end

-- without workers there are no leases, and the next worker begins a new clock
if redis.call('EXISTS', KEYS[1]) == 0 then
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('DEL', KEYS[2]) end
  return {}
end
-- Redis allows this when memory is short, and then the rest too
redis.call('HDEL', KEYS[2], '')
local ms, fresh = queue_time(KEYS[2], now)
if fresh then redis.call('HSET', KEYS[2], 'at', now, 'ms', ms) end
local longest = 2 * (tonumber(redis.call('HGET', KEYS[2], 'lease')) or 15000)
local over = {}
for _, range in ipairs({{'-inf', now}, {now + longest, '+inf'}}) do
  local found = redis.call('ZRANGEBYSCORE', KEYS[1], range[1], range[2], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
  for i = 1, #found, 2 do
    local id = found[i]
    local till = tonumber(redis.call('HGET', ARGV[1] .. id, 'till'))
    if #id <= tonumber(ARGV[3]) and is_over(tonumber(found[i + 1]), till, now, ms) then over[#over + 1] = id end
  end
end
return over
