-- Deletes results or errors that are in their new place, unless they were replaced since.
--
-- KEYS  1 hash
-- ARGV  id, fingerprint of its value, …
-- Returns  the number deleted
local dropped = 0
for i = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value and fingerprint(value) == ARGV[i + 1] then dropped = dropped + redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return dropped
