-- The limits of a queue, what they allow, and the keys that wait.
--
-- KEYS  1 queue  2 limits  3 load
-- ARGV  1 prefix of the queue's keys  2 how many keys
-- Returns  {} without limits; else {the definition, the numbers (survey.lua), tasks in flight, Redis time in ms,
--           {key, tasks held, in flight, when its first one may be tried: ms of Redis time or '', …} of those with the most held,
--           number of keys with held tasks, length of the list}
if redis.call('EXISTS', KEYS[2]) == 0 then return {} end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local definition, numbers = survey(ARGV[1], KEYS[2], KEYS[1], now, 0)
local slots = slots_of(ARGV[1])
local ahead = slots.limit_time(now) - now
local running = 0
for _, n in ipairs(redis.call('HVALS', KEYS[3])) do running = running + slots.number_of(n) end
local keys = {}
local most = tonumber(ARGV[2])
for _, key in ipairs(most > 0 and redis.call('ZRANGE', slots.HELD, 0, most - 1, 'REV') or {}) do
  local due = tonumber(redis.call('ZSCORE', slots.DUE, key))
  keys[#keys + 1] = key
  keys[#keys + 1] = slots.number_of(redis.call('ZSCORE', slots.HELD, key))
  keys[#keys + 1] = slots.number_of(redis.call('HGET', slots.RUNNING, key))
  keys[#keys + 1] = due and math.ceil(math.max(0, due - ahead)) or ''
end
return {definition, numbers, running, now, keys, redis.call('ZCARD', slots.HELD), redis.call('LLEN', KEYS[1])}
