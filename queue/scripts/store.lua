-- Stores results where the result hash is on another server than the queue: before the turn that settles their tasks.
--
-- KEYS  1 result  2 with a retention: expiry, in the same slot
-- ARGV  1 retention of a result, ms; empty: for ever  then id, value, …
-- Returns  the number of results
-- Storing them again changes nothing. With a retention, the server lets them go by itself where it can (Redis >= 7.4,
-- Valkey >= 9); else each call deletes some that are due, as sweep.lua does.
local ttl = tonumber(ARGV[1])
local count = (#ARGV - 1) / 2
for from = 2, #ARGV, 2000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, from, math.min(from + 1999, #ARGV)))
end
if not ttl then return count end

local ids = {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local swept = false
for from = 1, #ids, 2000 do
  local to = math.min(from + 1999, #ids)
  local done = redis.pcall('HPEXPIRE', KEYS[1], ttl, 'FIELDS', to - from + 1, unpack(ids, from, to))
  if type(done) ~= 'table' or done.err then
    swept = true
    break
  end
end
if not swept then return count end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 2, #ARGV, 2 do
  redis.call('ZADD', KEYS[2], now + ttl, 'r' .. fingerprint(ARGV[i + 1]) .. '|' .. ARGV[i])
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 2 * count)) do
  local mark, at = string.match(member, '^.([^|]*)|()')
  local id = string.sub(member, at)
  local value = redis.call('HGET', KEYS[1], id)
  if value and fingerprint(value) == mark then redis.call('HDEL', KEYS[1], id) end
  redis.call('ZREM', KEYS[2], member)
end
return count
