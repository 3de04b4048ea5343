-- Brings suspects that were put aside (turn.lua) back to the front of the queue when no worker is left that could take
-- them: plain workers know the queue only.
--
-- KEYS  1 queue  2 workers  3 suspects  4 history
-- ARGV  1 the most to bring back
-- Returns  how many are back
-- Before: suspects with their pasts, the oldest on the right.  After: the newest of them stand at the front of the
-- queue, in their order and before all others, their pasts in the history; nothing at all while there is a worker.
if redis.call('ZCARD', KEYS[2]) > 0 or redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
redis.call('LLEN', KEYS[1]) -- a queue key of another type ends it here, before anything was moved

local function remember(raw, past)
  local field = #raw <= 40 and '=' .. raw or '#' .. redis.sha1hex(raw)
  local others = redis.call('HGET', KEYS[4], field)
  redis.call('HSET', KEYS[4], field, others and (others .. ',' .. past) or past)
end

for count = 1, tonumber(ARGV[1]) do
  local aside = redis.call('LPOP', KEYS[3])
  if not aside then return count - 1 end
  local bar = string.find(aside, '|', 1, true)
  local raw = string.sub(aside, bar + 1)
  remember(raw, string.sub(aside, 1, bar - 1))
  redis.call('RPUSH', KEYS[1], raw)
end
return tonumber(ARGV[1])
