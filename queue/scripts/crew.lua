-- Who works on a queue: the registered workers with what they say of themselves, cut.
--
-- KEYS  1 workers  2 load
-- ARGV  1 what the keys of workers' hashes begin with  2 the most workers  3 the most bytes of a text
-- Returns  for each, by lease: {id, end of its lease in ms, epoch, state, concurrency, version, started, pool, tasks in flight};
--          '' for what is not there
local longest = tonumber(ARGV[3])
local leases = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
local crew = {}
for i = 1, #leases, 2 do
  local about = redis.call('HMGET', ARGV[1] .. leases[i], 'epoch', 'state', 'concurrency', 'version', 'started', 'pool')
  local one = {string.sub(leases[i], 1, longest), leases[i + 1]}
  for j = 1, 6 do one[j + 2] = string.sub(about[j] or '', 1, longest) end
  one[9] = string.sub(redis.call('HGET', KEYS[2], leases[i]) or '', 1, longest)
  crew[#crew + 1] = one
end
return crew
