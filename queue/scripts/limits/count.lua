-- Counts the tasks that a worker holds for the limit of their key: those that it took before there was one.
--
-- KEYS  1 limits  2 inflight
-- ARGV  1 worker id  2 prefix of the queue's keys
-- Returns  how many have a key
local slots = slots_of(ARGV[2])
local limits = slots.read_limits(KEYS[1])
if not limits.field or not limits.key_concurrency then return 0 end
local counted = 0
for _, receipt in ipairs(redis.call('HKEYS', KEYS[2])) do
  local key = slots.task_key(limits.field, redis.call('HGET', KEYS[2], receipt))
  local name = receipt .. '|' .. ARGV[1]
  if key and redis.call('HEXISTS', slots.SLOTS, name) == 0 then
    redis.call('HSET', slots.SLOTS, name, key)
    redis.call('HINCRBY', slots.RUNNING, key, 1)
    counted = counted + 1
  end
end
return counted
