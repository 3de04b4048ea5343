-- Lists the workers registered with a queue, with the fields that they report, truncated.
--
-- KEYS  1 workers  2 load
-- ARGV  1 prefix of the keys of workers' hashes  2 maximum number of workers  3 maximum length of a text, bytes
--       4 workers to pass over
-- Returns  for each, by the end of its lease: {id, end of its lease in ms, epoch, state, concurrency, version, started, pool,
--          uid of the pool, slots that it has found, why so many, tasks in flight}; '' for a missing field
local longest = tonumber(ARGV[3])
local from = tonumber(ARGV[4])
local leases = redis.call('ZRANGE', KEYS[1], from, from + tonumber(ARGV[2]) - 1, 'WITHSCORES')
local found = {}
for i = 1, #leases, 2 do
  local about = redis.call('HMGET', ARGV[1] .. leases[i], 'epoch', 'state', 'concurrency', 'version', 'started', 'pool', 'poolUid',
    'slots', 'slotsWhy')
  local one = {string.sub(leases[i], 1, longest), leases[i + 1]}
  for j = 1, 9 do one[j + 2] = string.sub(about[j] or '', 1, longest) end
  one[12] = string.sub(redis.call('HGET', KEYS[2], leases[i]) or '', 1, longest)
  found[#found + 1] = one
end
return found
