-- A worker is about to begin a unique task: may it?
--
-- KEYS  1 stats  2 inflight of the worker
-- ARGV  1 unique key  2 id of the task  3 worker  4 receipt  5 how long the key is kept at least, ms; 0 until the task has ended
-- Returns  the id of the task that has the key, if that is another one; '' if this one has it now; nil if the worker holds no such task:
--          it was fenced
-- Repeating it changes nothing.
if redis.call('HEXISTS', KEYS[2], ARGV[4]) == 0 then return nil end
-- Redis allows this when memory is short, and then the rest too
redis.call('HDEL', KEYS[2], '')
return uniques_of(string.sub(KEYS[1], 1, -6)).claim(ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])) or ''
