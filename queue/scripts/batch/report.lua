-- Tells the whole of a batch how one of its shares stands. A share counts once: later reports of it change nothing.
--
-- KEYS  1 queue  2 result  3 stats, of the partition that has the whole
-- ARGV  1 id of the batch  2 queue of the share  3 packed: {over, why, size, done, failed, cancelled}; `why`: of a share that fails
--       4 position, from 0, in the list of those of its parts that tasks added; then the ids from there, which the whole lists, too
-- Returns  {0} if the whole expects nothing of it any more; {1, whether another partition is to be told something}; {2, position} if the
--          ids from that one on are missing: then nothing was changed
local base = string.sub(KEYS[3], 1, -6)
local batches = batches_of(KEYS[1], KEYS[2], base)
local id, share, told = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3])
redis.call('LLEN', KEYS[1])
local b = batches.read(id)
local SHARES = base .. 'batch-shares:' .. id
if not b or b.role ~= 'whole' or b.over or redis.call('SMISMEMBER', SHARES, share)[1] == 0 then return {0} end
local listed = batches.count_of(redis.call('HGET', b.key, 'listed:' .. share)) or 0
if tonumber(ARGV[4]) ~= listed then return {2, listed} end
local unfit = batches.unfit_end(b)
if unfit then return redis.error_reply(unfit) end
local fails = told.why and not b.state
if fails then batches.check_stop(b) end
if #ARGV > 4 then
  redis.call('RPUSH', base .. 'batch-ids:' .. id, unpack(ARGV, 5))
  redis.call('HSET', b.key, 'listed:' .. share, listed + #ARGV - 4)
end
if fails then batches.stop(b, 'failing', told.why) end
if told.over then
  batches.left(b)
  redis.call('SREM', SHARES, share)
  b.left, b.shares = b.left - 1, b.shares - 1
  local changes = {'at', batches.now}
  for _, field in ipairs({'size', 'done', 'failed', 'cancelled'}) do batches.count_up(b, field, told[field], changes) end
  redis.call('HSET', b.key, unpack(changes))
  batches.conclude_if_done(b)
end
return {1, math.min(1, batches.reports)}
