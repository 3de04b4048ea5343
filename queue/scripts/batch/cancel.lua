-- Cancels a batch: its parts that wait are not run, those that run are aborted, and `then` is reported as cancelled. Batches inside of it
-- are cancelled too.
--
-- KEYS  1 queue  2 result  3 stats  4 answers
-- ARGV  1 id of the batch  2 why  3 the request, as in once.lua
-- Returns  1 if it is being cancelled, 2 if it is and other partitions are to be told, 0 if it is over, -1 if there is none of that id
local base = string.sub(KEYS[3], 1, -6)
local batches = batches_of(KEYS[1], KEYS[2], base)
redis.call('LLEN', KEYS[1])
local b = batches.read(ARGV[1])
if not b then return -1 end
if b.over then return 0 end
if b.state then return 1 end

batches.check_stop(b)
batches.stop(b, 'cancelling', ARGV[2])
batches.conclude_if_done(b)
return answer(batches.reports > 0 and 2 or 1)
