-- Sets the limits of a queue, or marks them as removed.
--
-- KEYS  1 limits  2 limit-state  3 held  4 held-due  5 limit-slots  6 limit-running  7 answers
-- ARGV  1 who sets them; of a pool, `pool NAMESPACE/NAME`  2 '1' to replace those of another pool  3 … fields and values; none to remove
--       then the request, as in once.lua
-- Returns  {3} while the queue is being moved; {0, who has set them} when those are a pool's and this is none or another one; else
--          {1, or 2 if they are these already, or none;
--           1 if tasks in flight are to be counted anew (count.lua); 1 if held tasks are to go back to the queue (return.lua)}: these two
--           also if they are still to be done, because the one that set the limits has lost this reply, or got no further
-- After: what was held back is tried again by the next turn.
local call = redis.call
local last = #ARGV - 1
for i, size in ipairs({'HLEN', 'HLEN', 'ZCARD', 'ZCARD', 'HLEN', 'HLEN'}) do call(size, KEYS[i]) end
local before, by = {}, nil
local found = call('HKEYS', KEYS[1])
for _, field in ipairs(found) do before[field] = call('HGET', KEYS[1], field) end
by = before.by
if by and string.find(by, '^pool ') and by ~= ARGV[1] and ARGV[2] ~= '1' and not before.removed then return {0, by} end
if #found == 0 and last < 3 then return {2, 0, 0} end
if last > 2 and call('EXISTS', string.sub(KEYS[1], 1, -7) .. 'move') == 1 then return {3} end
local after, same, fields = {}, by == ARGV[1] and not before.removed, 0
for i = 3, last, 2 do
  after[ARGV[i]], fields = ARGV[i + 1], fields + 1
  same = same and before[ARGV[i]] == ARGV[i + 1]
end
-- besides `by` and `at`
if same and fields > 0 and #found - 2 == fields then
  return {2, call('HEXISTS', KEYS[2], 'uncounted'), call('HEXISTS', KEYS[2], 'unreturned')}
end
local clock = call('TIME')
call('DEL', KEYS[1])
call('HSET', KEYS[1], 'by', ARGV[1], 'at', clock[1] * 1000 + math.floor(clock[2] / 1000))
if fields == 0 then call('HSET', KEYS[1], 'removed', 1) else call('HSET', KEYS[1], unpack(ARGV, 3, last)) end
call('HDEL', KEYS[2], 'woken', 'wokenDue')
local slots = slots_of(string.sub(KEYS[1], 1, -7))
slots.ready_all(slots.limit_time(clock[1] * 1000))
local other = before.field ~= after.field
-- what the limits before these have left to do
local uncounted, unreturned = unpack(call('HMGET', KEYS[2], 'uncounted', 'unreturned'))
local counts = after.keyConcurrency and (other or not before.keyConcurrency or uncounted)
if other or not after.keyConcurrency then call('DEL', KEYS[5], KEYS[6]) end
local returns = (other or unreturned) and call('EXISTS', KEYS[3]) == 1
call('HDEL', KEYS[2], 'uncounted', 'unreturned')
if counts then call('HSET', KEYS[2], 'uncounted', 1) end
if returns then call('HSET', KEYS[2], 'unreturned', 1) end
return answer({1, counts and 1 or 0, returns and 1 or 0})
