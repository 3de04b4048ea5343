-- Takes one letter out of the dead letters: back to the queue as a new task, or away.
--
-- KEYS  1 queue  2 dead  3 errors  4 cancelled
-- ARGV  1 'requeue' or 'drop'  2 the entry of the list, byte for byte  3 the task's id
--       4 the end of the list from which to look for it: 'oldest' or 'newest'; a search is as long as the way to it
-- Returns  1; 0 when the entry is not there (any more), and nothing was done
-- After 'requeue' the task is in the queue and nowhere else, with no past and no error; after 'drop' it is gone, and so
-- is its error, unless a later one has replaced that.
local requeue = ARGV[1] == 'requeue'
if requeue then redis.call('LLEN', KEYS[1]) end -- a queue key of another type ends it here, before anything was moved
if redis.call('LREM', KEYS[2], ARGV[4] == 'newest' and 1 or -1, ARGV[2]) == 0 then return 0 end
local header, raw = string.match(ARGV[2], '^%d+ ([^\n]*)\n(.*)$')
if requeue then
  redis.call('LPUSH', KEYS[1], raw)
  redis.call('ZREM', KEYS[4], ARGV[3])
  redis.call('HDEL', KEYS[3], ARGV[3])
elseif redis.call('HGET', KEYS[3], ARGV[3]) == header then
  redis.call('HDEL', KEYS[3], ARGV[3])
end
return 1
