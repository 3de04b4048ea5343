-- Notes how far a worker's tasks are, and forgets those that ended.
--
-- KEYS  1 worker  2 progress
-- ARGV  1 epoch  2 how many reports N, then N × (id, JSON), then ids that ended
-- Returns  1; 0 when the worker is fenced, and nothing was done
-- What a worker that is lost had noted goes with its tasks (reap.lua).
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
local n = tonumber(ARGV[2])
if n > 0 then redis.call('HSET', KEYS[2], unpack(ARGV, 3, 2 + 2 * n)) end
if #ARGV > 2 + 2 * n then redis.call('HDEL', KEYS[2], unpack(ARGV, 3 + 2 * n)) end
return 1
