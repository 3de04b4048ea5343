-- Moves a cron task from one state to the next, and pushes the tasks that are due with that, once, whoever else tries.
--
-- KEYS  1 crons  2 queue  3 result  4 errors  5 cancelled
-- ARGV  1 name  2 the state that is expected, empty for none  3 the next state, empty to forget it  4 the id whose end is asked
--       for, or empty; then the ids of the tasks, the oldest first, and then their bytes
-- Returns  { 1 if the state was as expected and nothing remains to be done, else 0; the state now, of 4 KB at most; of the id 1 if it
--          has a result, 2 if it failed for good, 3 if it was cancelled, else 0 }
-- What an earlier task of the same id left is deleted, as when a client pushes it: result, error, cancel mark.
-- A state expires after 400 days, so that none of a deleted pool stays, and one of a yearly task does.
-- Asking only: with equal states and no tasks.
local call = redis.call
-- a longer one is none of ours, and may be replaced
local state = string.sub(call('HGET', KEYS[1], ARGV[1]) or '', 1, 4096)
local outcome = 0
if ARGV[4] ~= '' then
  if call('HEXISTS', KEYS[3], ARGV[4]) == 1 then outcome = 1 else
    local failed = call('HGET', KEYS[4], ARGV[4])
    if failed then outcome = string.find(failed, '"cancelled":true', 1, true) and 3 or 2 end
  end
end
if state ~= ARGV[2] then return {0, state, outcome} end
if ARGV[3] ~= ARGV[2] then
  -- what Redis refuses, a key of another type or for want of memory, it refuses before anything is changed
  local count = (#ARGV - 4) / 2
  for i = 5 + count, #ARGV do call('LPUSH', KEYS[2], ARGV[i]) end
  if count > 0 then
    -- keys of another type are reported by workers
    redis.pcall('HDEL', KEYS[3], unpack(ARGV, 5, 4 + count))
    redis.pcall('HDEL', KEYS[4], unpack(ARGV, 5, 4 + count))
    redis.pcall('ZREM', KEYS[5], unpack(ARGV, 5, 4 + count))
  end
  if ARGV[3] == '' then call('HDEL', KEYS[1], ARGV[1]) else
    call('HSET', KEYS[1], ARGV[1], ARGV[3])
    call('EXPIRE', KEYS[1], 34560000)
  end
end
return {1, ARGV[3], outcome}
