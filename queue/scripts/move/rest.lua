-- What is left of a queue that is moved.
--
-- KEYS  1 queue  2 suspects  3 delayed  4 dead  5 moving  6 workers
-- ARGV  1 prefix of the keys of tasks in flight in a worker  2 prefix of workers' wake lists
-- Returns  {tasks that wait, suspects included; delayed ones; dead letters; items in hand; tasks in flight or on their way there}
local inflight = 0
for _, worker in ipairs(redis.call('ZRANGE', KEYS[6], 0, -1)) do
  inflight = inflight + redis.call('HLEN', ARGV[1] .. worker) + redis.call('LLEN', ARGV[2] .. worker)
end
return {redis.call('LLEN', KEYS[1]) + redis.call('LLEN', KEYS[2]), redis.call('ZCARD', KEYS[3]), redis.call('LLEN', KEYS[4]),
  redis.call('LLEN', KEYS[5]), inflight}
