-- Finds workers whose lease has expired, and advances queue time, which also must pass where no worker makes turns.
--
-- KEYS  1 workers  2 clock
-- ARGV  1 prefix of the keys of workers' hashes  2 maximum number of workers per range  3 maximum length of an id, bytes
-- Returns  ids of workers whose lease has expired; not all of them if they are many
-- Only workers are examined whose deadline by the server's clock has passed, or is so far away that this clock was set back.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- without workers there are no leases; the next worker starts a new clock
if redis.call('EXISTS', KEYS[1]) == 0 then
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('DEL', KEYS[2]) end
  return {}
end
-- Redis allows this command when memory is short, and with it the rest of the script
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
