-- Returns suspects that were put aside (turn/suspects.lua) to the front of the queue if no worker is left that could take
-- them: plain workers read only the queue.
--
-- KEYS  1 queue  2 workers  3 suspects  4 history  5 pasts  6 stats
-- Returns  the number returned, limited to a few ms of work: to be called until it is 0
-- Before: suspects with their pasts, the oldest on the right.  After: the newest of them are at the front of the queue, in
-- their order, and their pasts in history or pasts. Nothing is changed while a worker is registered.
local ROOM = 2 * 1024 * 1024
-- added to the size of each task, bytes
local OVERHEAD = 4096
local HISTORY, PASTS = KEYS[4], KEYS[5]
local remember = pasts_of(HISTORY, PASTS).remember
if redis.call('ZCARD', KEYS[2]) > 0 or redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
-- fails here, before any write, if a key has another type
redis.call('LLEN', KEYS[1])
redis.call('HLEN', HISTORY)
redis.call('HLEN', PASTS)

local room, count = ROOM, 0
while room > 0 do
  local aside = redis.call('LINDEX', KEYS[3], 0)
  if not aside then
    redis.pcall('HDEL', KEYS[6], 'asideAlone', 'asideSince')
    break
  end
  redis.call('LTRIM', KEYS[3], 1, -1)
  local past, raw = string.match(aside, '^(%d+:%d+[^|]*)|(.*)$')
  -- what something else put there is a task as it is
  raw = raw or aside
  if past then remember(raw, past) end
  redis.call('RPUSH', KEYS[1], raw)
  count, room = count + 1, room - #raw - OVERHEAD
end
return count
