-- Stores results or errors of a queue that is moved, unless there are newer ones of the same id already.
--
-- KEYS  1 hash  2 expiry, in the same slot
-- ARGV  1 'r' for results, 'e' for errors  2 … id, value, ms left or -1
-- Returns  the number stored
-- Storing them again changes nothing.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stored = 0
for i = 2, #ARGV, 3 do
  local id, value, left = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local fresh = redis.call('HSETNX', KEYS[1], id, value)
  stored = stored + fresh
  if fresh == 1 and left >= 0 then
    local done = redis.pcall('HPEXPIRE', KEYS[1], math.max(1, left), 'FIELDS', 1, id)
    if done.err then
      redis.call('ZADD', KEYS[2], now + left, ARGV[1] .. fingerprint(value) .. '|' .. id)
    end
  end
end
return stored
