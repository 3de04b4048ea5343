-- Stores progress reports of a worker's tasks, and deletes those of ended tasks.
--
-- KEYS  1 worker  2 progress
-- ARGV  1 epoch  2 number of reports N, then N × (id, JSON), then ids of ended tasks
-- Returns  1; 0 if the worker is fenced, and nothing was changed
-- Reports of a lost worker are deleted when its tasks are put back (reap.lua).
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
local n = tonumber(ARGV[2])
if n > 0 then redis.call('HSET', KEYS[2], unpack(ARGV, 3, 2 + 2 * n)) end
if #ARGV > 2 + 2 * n then redis.call('HDEL', KEYS[2], unpack(ARGV, 3 + 2 * n)) end
return 1
