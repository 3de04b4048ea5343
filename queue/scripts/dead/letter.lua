-- Requeues a dead letter as a new task, or drops it.
--
-- KEYS  1 queue  2 dead  3 errors  4 cancelled  5 answers
-- ARGV  1 'requeue' or 'drop'  2 the entry of the list, byte for byte  3 the task's id
--       4 the end of the list where the search begins: 'oldest' or 'newest'; its cost is the distance from that end
--       5 the request, as in once.lua
-- Returns  1; 0 if the entry is not in the list, and nothing was changed
-- After 'requeue' the task is in the queue and nowhere else, with no past and no error (one that had
-- expired has a past that keeps it from expiring again). After 'drop' it is gone, and so is its
-- error unless a later one has replaced it.
-- A part of a batch that waits for it (batch/batches.lua) is waited for on; one that is dropped has failed.
local requeue = ARGV[1] == 'requeue'
local header, raw = string.match(ARGV[2], '^%d+ ([^\n]*)\n(.*)$')
local read, about = pcall(cjson.decode, header or '')
local known = read and type(about) == 'table' and about or {}
local batches = known.batch and batches_of(KEYS[1], nil, string.sub(KEYS[2], 1, -5))
check_queue(requeue)
check_letter(requeue, known, batches)
if redis.call('LREM', KEYS[2], ARGV[4] == 'newest' and 1 or -1, ARGV[2]) == 0 then return 0 end
if requeue then
  if known.expired then reprieve(raw) end
  if type(known.unique) == 'string' then uniques_of(string.sub(KEYS[2], 1, -5)).again(known.unique, ARGV[3]) end
  redis.call('LPUSH', KEYS[1], raw)
  redis.call('ZREM', KEYS[4], ARGV[3])
  redis.call('HDEL', KEYS[3], ARGV[3])
elseif redis.call('HGET', KEYS[3], ARGV[3]) == header then
  redis.call('HDEL', KEYS[3], ARGV[3])
end
if batches then batches[requeue and 'retry' or 'give_up'](known.batch, ARGV[3]) end
return answer(1)
