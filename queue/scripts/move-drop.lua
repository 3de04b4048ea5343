-- Deletes results or errors that are in their new place, unless they were replaced since.
--
-- KEYS  1 hash
-- ARGV  id, fingerprint of its value, …
-- Returns  the number deleted
local function fingerprint(value)
  if #value > 4096 then value = #value .. string.sub(value, 1, 64) .. string.sub(value, -64) end
  return string.sub(redis.sha1hex(value), 1, 16)
end

local dropped = 0
for i = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value and fingerprint(value) == ARGV[i + 1] then dropped = dropped + redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return dropped
