-- Records a decision of a pool, or what confirms it, once, however often it is sent.
--
-- KEYS  1 decisions
-- ARGV  1 the decision, as JSON  2 what the text of each record of this decision begins with  3 decisions to keep  4 retention, s
-- After: it is in the place of its earlier record, if that is among the newest; otherwise the newest one.
local NEWEST = 10
local found
for i, text in ipairs(redis.call('LRANGE', KEYS[1], 0, NEWEST - 1)) do
  if string.sub(text, 1, #ARGV[2]) == ARGV[2] then
    found = i - 1
    break
  end
end
if found then
  redis.call('LSET', KEYS[1], found, ARGV[1])
else
  redis.call('LPUSH', KEYS[1], ARGV[1])
  redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[3]) - 1)
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
