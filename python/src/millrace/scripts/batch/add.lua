-- Adds parts to a batch and pushes their tasks, a chunk at a time, exactly once: chunks are numbered, and one that is resent because its
-- reply was lost changes nothing. The first one begins the batch, the last one says that no more will come.
--
-- KEYS  1 queue  2 result  3 errors  4 cancelled  5 stats
-- ARGV  1 id of the batch  2 a text that only its client knows  3 number of the chunk, from 1  4 1 if it is the last one
--       5 packed: {policy, then, thenId, thenBatch, joins, unique, resultName, role, homeResult, partitions, home}; with `joins`, the `then` task becomes a part of the batch
--       `thenBatch` in the step that begins this one; with `unique`, the client gives each id once in the whole batch. In partitions, the role
--       'whole' with their number, or 'share' with the queue that has the whole, and the result hash there
--       6 number of ids  7 number of tasks  8 number of the first part, from 0, if the ids are BATCH:NUMBER, one after the other; otherwise empty
--       then ids of parts, then their tasks: as many of the first ids have one, the others are added by whoever ends them
--       then, of a whole, packed: {shares, ids}: queues of the shares that begin now, and ids of parts in all partitions, in their order
-- Returns  {parts of the batch, tasks pushed, whether another partition is to be told}; {-1} if the id is taken; {-2, why} if the batch was cancelled, or the one that it joins;
--          {-3} if the server does not know what it should, because it lost writes; {-4} if the queue is being moved, and the batch has to
--          begin in its new place. Then nothing was changed.
local base = string.sub(KEYS[5], 1, -6)
local about = cmsgpack.unpack(ARGV[5])
local batches = batches_of(KEYS[1], KEYS[2], base, about.resultName)
local id, number, count, tasks = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[6]), tonumber(ARGV[7])
local by = about.unique and 'client' or nil
-- fails here, before any write, if a key that a batch cannot begin without has another type
redis.call('LLEN', KEYS[1])
if number == 1 then redis.call('ZCARD', base .. (about.role == 'share' and 'shares' or 'batches')) end
local b = batches.read(id)
local adder, chunk = unpack(redis.call('HMGET', base .. 'batch:' .. id, 'adder', 'chunk'))
chunk = tonumber(chunk) or 0
local function why_over(of)
  return {-2, redis.call('HGET', of.key, 'why') or 'it was cancelled'}
end
-- a share that was cancelled before it began (share.lua)
if b and b.over and b.role == 'share' and not adder then return why_over(b) end
if number == 1 and b and adder ~= ARGV[2] then return {-1} end
if number > 1 and (not b or adder ~= ARGV[2] or number > chunk + 1) then return {-3} end
if b and number <= chunk then
  -- a write, as whoever waits for replicas waits for those of its connection
  redis.pcall('HSET', b.key, 'chunk', chunk)
  return {b.size, 0, 1}
end
if b and (b.state or b.over) then return why_over(b) end
if not b then
  if redis.call('EXISTS', base .. 'move') == 1 then return {-4} end
  local outer = about.joins and batches.read(about.thenBatch)
  if about.joins and not outer then return {-3} end
  if outer and (outer.state or outer.over) then return why_over(outer) end
  if outer then batches.add(outer, {about.thenId}, by) end
  b = batches.create(id, nil, about)
  redis.call('HSET', b.key, 'adder', ARGV[2], 'open', 1)
  b.open = '1'
end
redis.call('HSET', b.key, 'chunk', number)
local whole = ARGV[9 + count + tasks]
if whole then
  whole = cmsgpack.unpack(whole)
  local shares, listed = whole.shares, whole.ids
  if #shares > 0 then
    batches.left(b)
    b.left = b.left + redis.call('SADD', base .. 'batch-shares:' .. id, unpack(shares))
  end
  for from = 1, #listed, 2000 do
    redis.call('RPUSH', base .. 'batch-ids:' .. id, unpack(listed, from, math.min(from + 1999, #listed)))
  end
end
local ids, raws = {unpack(ARGV, 9, 8 + count)}, {}
local fresh = batches.add(b, ids, by, tonumber(ARGV[8]))
if #fresh == count then
  raws = {unpack(ARGV, 9 + count, 8 + count + tasks)}
else
  local wanted = {}
  for _, part in ipairs(fresh) do wanted[part] = true end
  for i = 1, tasks do
    if wanted[ids[i]] then
      wanted[ids[i]] = nil
      raws[#raws + 1] = ARGV[8 + count + i]
    end
  end
end
if #fresh > 0 then
  -- what earlier tasks of these ids left; a result key of another type is reported by workers
  for key, remove in pairs({ [KEYS[2]] = 'HDEL', [KEYS[3]] = 'HDEL', [KEYS[4]] = 'ZREM' }) do
    if redis.call('EXISTS', key) == 1 then redis.pcall(remove, key, unpack(fresh)) end
  end
end
if #raws > 0 then redis.call('LPUSH', KEYS[1], unpack(raws)) end
if ARGV[4] == '1' then
  redis.call('HDEL', b.key, 'open')
  b.open = nil
  batches.conclude_if_done(b)
end
return {b.size, #raws, batches.reports}
