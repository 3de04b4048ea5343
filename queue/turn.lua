-- One turn of a worker: settle what finished, take what comes next, renew the lease. All or nothing, in one round trip.
--
-- KEYS  1 queue  2 result  3 workers  4 worker  5 inflight  6 carried  7 wake  8 delayed  9 dead  10 errors
--       11 stats  12 history  13 load
-- ARGV  1 what the worker says, packed as one MessagePack object (queue/pack.ts):
--         worker, epoch   texts
--         number          of the turn, one more than the last one's unless this repeats it
--         seen            highest receipt counter that the worker has seen
--         want            how many tasks it takes
--         leaseMs, state
--         serviceUs       service time of the settled tasks in all
--         deadKept        how many dead letters to keep
--         receipts        {receipt, …} of the results
--         results         {id, value, …}
--         retries         {{receipt, delayMs, past = "attempts:deliveries"}, …}
--         dead            {{receipt, id, header = JSON}, …}
--         released        {receipt, …}
--       2… long ids and values, each as it is: where an id or a value is a number, it is the one in that argument
-- Returns  {0} when the worker is fenced: it has no lease of this epoch, and nothing was done; else
--          {1, Redis time in ms, length of the queue or an error in words, drain?, counter of the first task,
--           {task, …}, {index, "attempts:deliveries", …} for the tasks that have a past,
--           ms until the next delayed task falls due, or -1}
--
-- Before: every task of this worker is in its in-flight hash (or in its wake list). After: each settled task is gone
-- from there and is in exactly one of result, delayed, dead or queue; each returned task is in flight with a receipt
-- `epoch-counter`. Repeating a turn after a lost reply changes nothing more and returns the same tasks again.
-- A turn older than the last one (a packet that was long on its way) is refused, and so is one that would have to
-- write to a queue or result key of another type: of that only the lease is renewed, so that what the worker holds
-- waits there until the key is right, and is not run by one worker after the other meanwhile.
local CHUNK = 2000
local PROMOTE = 100
local DIGITS = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}

local QUEUE, RESULT, WORKERS, WORKER, INFLIGHT, CARRIED, WAKE, DELAYED, DEAD, ERRORS, STATS, HISTORY, LOAD = unpack(KEYS)
local turn = cmsgpack.unpack(ARGV[1])
local epoch, want, results = turn.epoch, turn.want, turn.results

local worker = redis.call('HMGET', WORKER, 'epoch', 'turn', 'seq', 'drain')
if worker[1] ~= epoch then return {0} end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last = tonumber(worker[2])
if turn.number < last then
  return redis.error_reply('STALE turn ' .. turn.number .. ' came after turn ' .. last)
end
local repeated = turn.number == last
local seq = tonumber(worker[3])
local completed = #turn.receipts

-- a key of another type is never touched: with a wrong queue, results still go out, but nothing is taken or handed
-- back; with a wrong result, nothing is taken, because it could not be answered
local function misfit(size, key)
  return type(size) == 'table' and string.format('%s (the key is "%s")', size.err, key) or nil
end
local length = redis.pcall('LLEN', QUEUE)
local no_list = misfit(length, QUEUE)
local no_hash = misfit(redis.pcall('HLEN', RESULT), RESULT)
local broken = no_list or no_hash
if broken then want = 0 end
if not repeated and ((no_list and #turn.released > 0) or (no_hash and completed > 0)) then
  redis.call('ZADD', WORKERS, now + turn.leaseMs, turn.worker)
  return redis.error_reply(no_list and #turn.released > 0 and no_list or no_hash)
end

-- a short name for a task's bytes that cannot be mistaken for another's
local function digest(raw)
  if #raw <= 40 then return '=' .. raw end
  return '#' .. redis.sha1hex(raw)
end

-- what a task that goes back to the list has been through; equal tasks share a field and keep a past each
local function remember(raw, past)
  local field = digest(raw)
  local others = redis.call('HGET', HISTORY, field)
  redis.call('HSET', HISTORY, field, others and (others .. ',' .. past) or past)
end

local function recall(raw)
  local field = digest(raw)
  local pasts = redis.call('HGET', HISTORY, field)
  if not pasts then return nil end
  local rest, last = string.match(pasts, '^(.*),([^,]*)$')
  if rest then redis.call('HSET', HISTORY, field, rest) else redis.call('HDEL', HISTORY, field) end
  return last or pasts
end

-- drops the oldest dead letters over the limit, and with each its error, unless a later one has replaced that
local function bury(kept)
  while redis.call('LLEN', DEAD) > kept do
    local header, raw = string.match(redis.call('RPOP', DEAD), '^%d+ ([^\n]*)\n(.*)$')
    local read, about = pcall(cjson.decode, header or '')
    local id = read and type(about) == 'table' and about.id or raw
    if id and redis.call('HGET', ERRORS, id) == header then redis.call('HDEL', ERRORS, id) end
  end
end

-- an id or a value: itself, or the argument that holds it
local function bytes(value)
  return type(value) == 'number' and ARGV[value] or value
end
if #ARGV > 1 then
  for i = 1, #results do results[i] = bytes(results[i]) end
end

-- one command for many values: Lua's stack does not hold all of them at once
local function slices(command, key, values)
  for from = 1, #values, CHUNK do
    redis.call(command, key, unpack(values, from, math.min(from + CHUNK - 1, #values)))
  end
end

local function leave(receipt)
  redis.call('HDEL', INFLIGHT, receipt)
  redis.call('HDEL', CARRIED, receipt)
end

local with_carried = redis.call('EXISTS', CARRIED) == 1
if not repeated then
  if completed > 0 then
    -- first of all writes: what Redis refuses here (wrong type, no memory) leaves everything as it was
    slices('HSET', RESULT, results)
    redis.call('HINCRBY', STATS, 'completed', completed)
    if redis.call('HLEN', ERRORS) > 0 then
      for i = 1, #results, 2 do redis.call('HDEL', ERRORS, results[i]) end
    end
  end
  if completed + #turn.retries + #turn.dead > 0 then
    redis.call('HINCRBY', STATS, 'serviceUs', turn.serviceUs)
  end

  for _, retry in ipairs(turn.retries) do
    local raw = redis.call('HGET', INFLIGHT, retry.receipt)
    if raw then
      local attempts, deliveries = string.match(retry.past, '^(%d+):(%d+)$')
      local member = retry.receipt .. '|' .. attempts .. '|' .. deliveries .. '|' .. raw
      redis.call('ZADD', DELAYED, now + retry.delayMs, member)
      leave(retry.receipt)
      redis.call('HINCRBY', STATS, 'retried', 1)
    end
  end
  for _, letter in ipairs(turn.dead) do
    local raw = redis.call('HGET', INFLIGHT, letter.receipt)
    if raw then
      redis.call('LPUSH', DEAD, string.format('%.0f', now) .. ' ' .. letter.header .. '\n' .. raw)
      redis.call('HSET', ERRORS, bytes(letter.id), letter.header)
      bury(turn.deadKept)
      leave(letter.receipt)
      redis.call('HINCRBY', STATS, 'failed', 1)
    end
  end
  -- newest first, so that the oldest ends up outermost and is taken first again
  for i = #turn.released, 1, -1 do
    local receipt = turn.released[i]
    local raw = redis.call('HGET', INFLIGHT, receipt)
    if raw then
      local past = redis.call('HGET', CARRIED, receipt)
      if past then remember(raw, past) end
      redis.call('RPUSH', QUEUE, raw)
      leave(receipt)
      redis.call('HINCRBY', STATS, 'taken', -1)
    end
  end
end

-- what fell due goes to the back of the list, as new arrivals do
local function next_due()
  return tonumber(redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2])
end
local due_at = next_due()
if due_at and due_at <= now and not broken then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, PROMOTE)) do
    local attempts, deliveries, at = string.match(member, '^[^|]*|(%d+)|(%d+)|()')
    local raw = string.sub(member, at)
    redis.call('LPUSH', QUEUE, raw)
    redis.call('ZREM', DELAYED, member)
    if attempts ~= '0' or deliveries ~= '0' then remember(raw, attempts .. ':' .. deliveries) end
  end
  due_at = next_due()
end

local tasks, pasts = {}, {}
local first = turn.seen + 1
-- taken by a turn whose reply was lost
for counter = first, seq do
  local receipt = epoch .. '-' .. counter
  local raw = redis.call('HGET', INFLIGHT, receipt)
  if raw then
    tasks[#tasks + 1] = raw
    local past = redis.call('HGET', CARRIED, receipt)
    if past then pasts[#pasts + 1] = #tasks; pasts[#pasts + 1] = past end
  end
end

if not no_list then
  length = redis.call('LLEN', QUEUE)
  -- a blocking move may have put a task aside (two, when a connection was replaced while its move was blocked); what
  -- is not wanted any more goes back to where it came from, the oldest outermost
  local fresh = {}
  repeat
    local woken = redis.call('RPOP', WAKE)
    fresh[#fresh + 1] = woken or nil
  until not woken
  while #fresh > 0 and #tasks + #fresh > want do
    redis.call('RPUSH', QUEUE, table.remove(fresh))
    length = length + 1
  end
  local more = want - #tasks - #fresh
  if more > 0 and length > 0 then
    local popped = redis.call('RPOP', QUEUE, more)
    length = length - #popped
    if #fresh == 0 then fresh = popped else for i = 1, #popped do fresh[#fresh + 1] = popped[i] end end
  end
  if #fresh > 0 then
    local with_past = redis.call('HLEN', HISTORY) > 0
    local fields, add = {}, #tasks
    if add == 0 then tasks = fresh else for i = 1, #fresh do tasks[add + i] = fresh[i] end end
    -- numbers become text by way of floating point, which costs more than the rest here: once for ten receipts
    local prefix
    for i = 1, #fresh do
      seq = seq + 1
      local low = seq % 10
      if low == 0 or not prefix then prefix = epoch .. '-' .. (seq > 9 and string.format('%.0f', (seq - low) / 10) or '') end
      local receipt = prefix .. DIGITS[low]
      fields[2 * i - 1], fields[2 * i] = receipt, fresh[i]
      local past = with_past and recall(fresh[i])
      if past then
        redis.call('HSET', CARRIED, receipt, past)
        pasts[#pasts + 1] = add + i
        pasts[#pasts + 1] = past
      end
    end
    slices('HSET', INFLIGHT, fields)
    redis.call('HINCRBY', STATS, 'taken', #fresh)
  end
end

-- last, so that under load the in-flight hash is never empty: one that begins anew is a list at first, which each new field
-- is looked for in from end to end
if not repeated and completed > 0 then
  slices('HDEL', INFLIGHT, turn.receipts)
  if with_carried then slices('HDEL', CARRIED, turn.receipts) end
end

redis.call('HSET', WORKER, 'turn', turn.number, 'seq', seq, 'state', turn.state)
redis.call('HSET', LOAD, turn.worker, redis.call('HLEN', INFLIGHT))
redis.call('ZADD', WORKERS, now + turn.leaseMs, turn.worker)
-- what is due and was too much for this turn wants another one at once
local next_in = due_at and not broken and math.max(0, due_at - now) or -1
return {1, now, broken or length, worker[4] and 1 or 0, first, tasks, pasts, next_in}
