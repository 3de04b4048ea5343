-- Moves a cron task from one state to the next, and pushes the tasks that are due with that, once, whoever else tries.
--
-- KEYS  1 crons  2 queue  3 result  4 errors
-- ARGV  1 name  2 the state that is expected, empty for none  3 the next state, empty to forget it  4 the id whose end is asked
--       for, or empty  5 … tasks, the oldest first
-- Returns  { 1 if the state was as expected and nothing remains to be done, else 0; the state now, of 4 KB at most; 1 if the id has a
--          result or failed for good }
-- A state expires after 400 days, so that none of a deleted pool stays, and one of a yearly task does.
-- Asking only: with equal states and no tasks.
local call = redis.call
-- a longer one is none of ours, and may be replaced
local state = string.sub(call('HGET', KEYS[1], ARGV[1]) or '', 1, 4096)
local over = 0
if ARGV[4] ~= '' and (call('HEXISTS', KEYS[3], ARGV[4]) == 1 or call('HEXISTS', KEYS[4], ARGV[4]) == 1) then over = 1 end
if state ~= ARGV[2] then return {0, state, over} end
if ARGV[3] ~= ARGV[2] then
  -- what Redis refuses, a key of another type or for want of memory, it refuses before anything is changed
  for i = 5, #ARGV do call('LPUSH', KEYS[2], ARGV[i]) end
  if ARGV[3] == '' then call('HDEL', KEYS[1], ARGV[1]) else
    call('HSET', KEYS[1], ARGV[1], ARGV[3])
    call('EXPIRE', KEYS[1], 34560000)
  end
end
return {1, ARGV[3], over}
