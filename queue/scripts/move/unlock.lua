-- Ends the keys of unique tasks that were moved, unless they have changed since.
--
-- KEYS  the keys
-- ARGV  what each of them had
-- Returns  the number that were ended
local ended = 0
for i, key in ipairs(KEYS) do
  if redis.pcall('GET', key) == ARGV[i] then ended = ended + redis.call('DEL', key) end
end
return ended
