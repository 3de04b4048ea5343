-- One turn of a worker: settle what finished, take what comes next, renew the lease. All or nothing, in one round trip.
--
-- KEYS  1 queue  2 result  3 workers  4 worker  5 inflight  6 carried  7 wake  8 delayed  9 dead  10 errors
--       11 stats  12 history  13 load  14 paused  15 cancelled  16 expiry
--       17 suspects  18 isolator  19 pasts
-- ARGV  1 what the worker says, packed as one MessagePack object (queue/pack.ts):
--         worker, epoch   texts
--         number          of the turn, one more than the last one's unless this repeats it
--         seen            highest receipt counter that the worker has seen
--         heard           when the last turn was made whose reply it saw, 0 before the first; may be left out
--         holds           how many tasks it holds, those that it settles here included; may be left out
--         want            how many tasks it takes
--         leaseMs, state
--         serviceUs       service time of the settled tasks in all
--         slow            {bucket, …} of the slow ones among them (slow.ts)
--         receipts        {receipt, …} of the results
--         results         {id, value, …}
--         retries         {{receipt, delayMs, past = "attempts:deliveries"}, …}
--         dead            {{receipt, id, header = JSON}, …}
--         released        {receipt, …}
--         cancelled       {{receipt, id, header = JSON}, …}
--       2… long ids and values, each as it is: where an id or a value is a number, it is the one in that argument
-- Returns  {0} when the worker is fenced, and nothing was done: it has no lease of this epoch, or this server does not
--           know the worker as it knows itself (below); else
--          {1, Redis time in ms, length of the queue or an error in words, orders (0: none, 1: drain, 2: the queue is
--           paused), counter of the first task,
--           {task, …}, {index, past, …} for the tasks that have one (parsePast in turn.ts),
--           ms until the next delayed task falls due, or -1,
--           0 when no task is marked as cancelled, else a number that changes with every mark,
--           1 when the worker is given nothing more until it holds nothing,
--           Redis time in ms when this turn was made, which is earlier where this is its repetition}
-- The worker's hash may hold the policies of its pool: resultTtl (ms), deadMax and deadMaxAge (ms).
--
-- Before: every task of this worker is in its in-flight hash (or in its wake list). After: each settled task is gone
-- from there and is in exactly one of result, delayed, dead or queue, or was cancelled and is in errors; each returned
-- task is in flight with a receipt `epoch-counter`. Repeating a turn after a lost reply changes nothing more and returns the same tasks again.
-- A turn older than the last one (a packet that was long on its way) is refused, and so is one that would have to
-- write to a queue or result key of another type: of that only the lease is renewed, so that what the worker holds
-- waits there until the key is right, and is not run by one worker after the other meanwhile.
-- A server may go back: a failover to a replica that lags, a restart from an older snapshot. Then it knows less of a
-- worker than the worker does, and would take its next turn for another one. So a turn is fenced unless the server's
-- last turn is the one that the worker saw answered, or this very turn, and unless exactly the tasks are in flight that
-- the worker holds. A new epoch begins from what the server has; what is in flight there goes back to the queue.
-- Cancelled: whoever was first wins. A result or a dead letter takes the mark away; a task that is settled as cancelled
-- and has no mark any more (it was enqueued again) goes back to the queue.
--
-- A suspect is a task that was in flight in a worker which was lost. It is only ever in flight alone, so that its next
-- delivery speaks about itself, and costs no other task. A worker that holds something puts the suspects that it meets
-- aside; one that holds nothing takes a single one. While some wait and nobody is empty, one worker (the isolator)
-- takes nothing more until it is. What is put aside carries its past along; a worker that is the last one to go, or
-- the controller, brings it back (rejoin.lua).
local CHUNK = 2000
local PROMOTE = 100
local DEAD_KEPT = 10000
local BURY = 1000
-- how long a waiting client can be told that a task was cancelled, ms
local CANCELLED_KEPT = 24 * 3600 * 1000
local DIGITS = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}

local QUEUE, RESULT, WORKERS, WORKER, INFLIGHT, CARRIED, WAKE, DELAYED, DEAD, ERRORS, STATS, HISTORY, LOAD, PAUSED,
  CANCELLED, EXPIRY, SUSPECTS, ISOLATOR, PASTS = unpack(KEYS)
local turn = cmsgpack.unpack(ARGV[1])
local epoch, want, results = turn.epoch, turn.want, turn.results

local worker = redis.call('HMGET', WORKER, 'epoch', 'turn', 'seq', 'drain', 'resultTtl', 'expiry', 'at', 'before')
if worker[1] ~= epoch then return {0} end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last = tonumber(worker[2])
if turn.number < last then
  return redis.error_reply('STALE turn ' .. turn.number .. ' came after turn ' .. last)
end
local repeated = turn.number == last
local known = tonumber(worker[3])
local seq = known
local completed = #turn.receipts

-- when the last turn that the worker saw answered was made, as far as this server knows
local answered = tonumber(worker[repeated and 8 or 7]) or 0
local function in_flight(receipt) return redis.call('HEXISTS', INFLIGHT, receipt) == 1 end

-- whether each task that is settled here is in flight, and each that was taken and that the worker has not seen
local function all_in_flight()
  for counter = turn.seen + 1, seq do
    if not in_flight(epoch .. '-' .. string.format('%.0f', counter)) then return false end
  end
  if repeated then return true end
  for _, receipts in ipairs({turn.receipts, turn.released}) do
    for _, receipt in ipairs(receipts) do
      if not in_flight(receipt) then return false end
    end
  end
  for _, entries in ipairs({turn.retries, turn.dead, turn.cancelled}) do
    for _, entry in ipairs(entries) do
      if not in_flight(entry.receipt) then return false end
    end
  end
  return true
end

-- the same by number, which costs nothing: a worker that saw all answers knows every receipt that there is
local function as_many_as_held()
  local settled = completed + #turn.retries + #turn.dead + #turn.released + #turn.cancelled
  local expected = turn.holds + seq - turn.seen - (repeated and settled or 0)
  return redis.call('HLEN', INFLIGHT) == expected
end

if turn.number > last + 1 or turn.seen > seq then return {0} end
if turn.heard and turn.heard ~= answered then return {0} end
if turn.holds and not as_many_as_held() then return {0} end
if not turn.holds and not all_in_flight() then return {0} end

-- a key of another type is never touched: with a wrong queue, results still go out, but nothing is taken or handed
-- back; with a wrong result, nothing is taken, because it could not be answered
local function misfit(size, key)
  return type(size) == 'table' and string.format('%s (the key is "%s")', size.err, key) or nil
end
local length = redis.pcall('LLEN', QUEUE)
local no_list = misfit(length, QUEUE)
local no_hash = misfit(redis.pcall('HLEN', RESULT), RESULT)
local broken = no_list or no_hash
local paused = redis.call('EXISTS', PAUSED) == 1
-- who drains gets nothing: the mark may have come after the worker asked
local drain = (tonumber(worker[4]) or 0) > now
if broken or paused or drain then want = 0 end
local returning = #turn.released + #turn.cancelled
if not repeated and ((no_list and returning > 0) or (no_hash and completed > 0)) then
  redis.call('ZADD', WORKERS, now + turn.leaseMs, turn.worker)
  return redis.error_reply(no_list and returning > 0 and no_list or no_hash)
end

-- a short name for a task's bytes that cannot be mistaken for another's
local function digest(raw)
  if #raw <= 40 then return '=' .. raw end
  return '#' .. redis.sha1hex(raw)
end

-- What a task that goes back to the list has been through. Equal tasks share a name and keep a past each: the first few in
-- one text (history), which versions before this read, all others in a stack of runs (pasts), so that each costs the same.
-- The field of the name holds the top run, `runs below:tasks:past`; the n-th below it is `tasks:past` under `n|name`.
-- turn.lua, reap.lua and rejoin.lua have the same functions.
local HISTORY_BYTES = 128
local function remember(raw, past)
  local name = digest(raw)
  local few = redis.call('HGET', HISTORY, name)
  if not few or #few < HISTORY_BYTES then
    redis.call('HSET', HISTORY, name, few and (few .. ',' .. past) or past)
    return
  end
  local below, count, top = string.match(redis.call('HGET', PASTS, name) or '', '^(%d+):(%d+):(.*)$')
  if top and top ~= past then
    below = below + 1
    redis.call('HSET', PASTS, below .. '|' .. name, count .. ':' .. top)
    count = 0
  end
  redis.call('HSET', PASTS, name, (below or 0) .. ':' .. (count or 0) + 1 .. ':' .. past)
end

-- the past that a task of these bytes has, which is then its own and no longer kept for others; nil when it has none
local function recall(raw)
  local name = digest(raw)
  local below, count, past = string.match(redis.call('HGET', PASTS, name) or '', '^(%d+):(%d+):(.*)$')
  if past then
    if count ~= '1' then
      redis.call('HSET', PASTS, name, below .. ':' .. count - 1 .. ':' .. past)
    elseif below == '0' then
      redis.call('HDEL', PASTS, name)
    else
      local field = below .. '|' .. name
      redis.call('HSET', PASTS, name, below - 1 .. ':' .. redis.call('HGET', PASTS, field))
      redis.call('HDEL', PASTS, field)
    end
    return past
  end
  local few = redis.call('HGET', HISTORY, name)
  if not few then return nil end
  local rest, last = string.match(few, '^(.*),([^,]*)$')
  if rest then redis.call('HSET', HISTORY, name, rest) else redis.call('HDEL', HISTORY, name) end
  return last or few
end

local function suspect(past) return past and not string.find(past, '^%d+:0') end

-- tells a value from a later one under the same id: see sweep.lua, which has the same function
local function fingerprint(value)
  if #value > 4096 then value = #value .. string.sub(value, 1, 64) .. string.sub(value, -64) end
  return string.sub(redis.sha1hex(value), 1, 16)
end

-- drops the oldest dead letters over the limit of number or age (some at a time, where a limit was lowered), and with each
-- its error, unless a later one has replaced that
local function bury(kept, since)
  for _ = 1, BURY do
    local oldest = redis.call('LINDEX', DEAD, -1)
    if not oldest then break end
    if redis.call('LLEN', DEAD) <= kept and (tonumber(string.match(oldest, '^%d+')) or 0) >= since then break end
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

local function hand_back(receipt, raw)
  local past = redis.call('HGET', CARRIED, receipt)
  if past then remember(raw, past) end
  redis.call('RPUSH', QUEUE, raw)
  redis.call('HINCRBY', STATS, 'taken', -1)
  leave(receipt)
end

-- lets the results go after `ttl` ms: the server does it where it can (Redis >= 7.4, Valkey >= 9, and the user may), else
-- sweep.lua does. Which of the two is found out once an epoch.
local function expire(ttl)
  if worker[6] ~= 'swept' then
    local ids = {}
    for i = 1, #results, 2 do ids[#ids + 1] = results[i] end
    for from = 1, #ids, CHUNK do
      local to = math.min(from + CHUNK - 1, #ids)
      local done = redis.pcall('HPEXPIRE', RESULT, ttl, 'FIELDS', to - from + 1, unpack(ids, from, to))
      if type(done) ~= 'table' or done.err then
        redis.call('HSET', WORKER, 'expiry', 'swept')
        worker[6] = 'swept'
        break
      end
    end
  end
  if worker[6] ~= 'swept' then return end
  local due = {}
  for i = 1, #results, 2 do
    due[#due + 1] = now + ttl
    due[#due + 1] = 'r' .. fingerprint(results[i + 1]) .. '|' .. results[i]
  end
  slices('ZADD', EXPIRY, due)
end

local with_carried = redis.call('EXISTS', CARRIED) == 1
local with_marks = redis.call('EXISTS', CANCELLED) == 1
local dropped = repeated or completed == 0
local function drop_results()
  if dropped then return end
  dropped = true
  slices('HDEL', INFLIGHT, turn.receipts)
  if with_carried then slices('HDEL', CARRIED, turn.receipts) end
end

if not repeated then
  if completed > 0 then
    -- first of all writes: what Redis refuses here (wrong type, no memory) leaves everything as it was
    slices('HSET', RESULT, results)
    redis.call('HINCRBY', STATS, 'completed', completed)
    if worker[5] then expire(tonumber(worker[5])) end
    if with_marks then
      for i = 1, #results, 2 do redis.call('ZREM', CANCELLED, results[i]) end
    end
    if redis.call('HLEN', ERRORS) > 0 then
      for i = 1, #results, 2 do redis.call('HDEL', ERRORS, results[i]) end
    end
  end
  if completed + #turn.retries + #turn.dead > 0 then
    redis.call('HINCRBY', STATS, 'serviceUs', turn.serviceUs)
    for _, bucket in ipairs(turn.slow) do redis.call('HINCRBY', STATS, 'slow' .. bucket, 1) end
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
  local limits = #turn.dead > 0 and redis.call('HMGET', WORKER, 'deadMax', 'deadMaxAge')
  for _, letter in ipairs(turn.dead) do
    local raw = redis.call('HGET', INFLIGHT, letter.receipt)
    if raw then
      redis.call('LPUSH', DEAD, string.format('%.0f', now) .. ' ' .. letter.header .. '\n' .. raw)
      local id = bytes(letter.id)
      redis.call('HSET', ERRORS, id, letter.header)
      if with_marks then redis.call('ZREM', CANCELLED, id) end
      local max_age = tonumber(limits[2])
      bury(tonumber(limits[1]) or DEAD_KEPT, max_age and now - max_age or 0)
      if max_age then redis.call('ZADD', EXPIRY, now + max_age, string.format('d%.0f', now)) end
      leave(letter.receipt)
      redis.call('HINCRBY', STATS, 'failed', 1)
    end
  end
  -- newest first, so that the oldest ends up outermost and is taken first again
  for i = #turn.released, 1, -1 do
    local receipt = turn.released[i]
    local raw = redis.call('HGET', INFLIGHT, receipt)
    if raw then hand_back(receipt, raw) end
  end
  for _, entry in ipairs(turn.cancelled) do
    local raw, id = redis.call('HGET', INFLIGHT, entry.receipt), bytes(entry.id)
    if raw and redis.call('ZREM', CANCELLED, id) == 0 then
      hand_back(entry.receipt, raw)
    elseif raw then
      if no_hash or redis.call('HEXISTS', RESULT, id) == 0 then
        redis.call('HSET', ERRORS, id, entry.header)
        redis.call('ZADD', EXPIRY, now + CANCELLED_KEPT, 'e' .. fingerprint(entry.header) .. '|' .. id)
      end
      redis.call('HINCRBY', STATS, 'cancelled', 1)
      leave(entry.receipt)
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

-- puts tasks back at the front of the queue, the oldest outermost; `keep`: so many of them are wanted
local function put_back(fresh, known, keep)
  while #fresh > keep do
    local past = known[#fresh]
    if past then remember(fresh[#fresh], past) end
    redis.call('RPUSH', QUEUE, table.remove(fresh))
  end
end

local holding = 0
-- whether this worker has to take nothing more: it holds a suspect, or empties itself for one
local function keeps_apart()
  if holding == 0 then return false end
  if holding == 1 and suspect(redis.call('HVALS', CARRIED)[1]) then return true end
  local mine = redis.call('GET', ISOLATOR) == turn.worker
  if redis.call('LLEN', SUSPECTS) == 0 or drain or paused or string.find(turn.state, '^drain') then
    if mine then redis.call('DEL', ISOLATOR) end
    return false
  end
  if not mine and not redis.call('SET', ISOLATOR, turn.worker, 'NX', 'PX', turn.leaseMs) then return false end
  redis.call('PEXPIRE', ISOLATOR, turn.leaseMs)
  return true
end

-- who may take what, among tasks that were just taken off the queue and may be suspects. Returns tasks and pasts.
local function sift(fresh)
  local kept, known = {}, {}
  for i, raw in ipairs(fresh) do
    local past = recall(raw)
    if not suspect(past) then
      kept[#kept + 1] = raw
      known[#kept] = past
    elseif holding == 0 then
      for j = #fresh, i + 1, -1 do redis.call('RPUSH', QUEUE, fresh[j]) end
      put_back(kept, known, 0)
      return {raw}, {past}
    else
      redis.call('LPUSH', SUSPECTS, past .. '|' .. raw)
    end
  end
  return kept, known
end

local apart = false
if not no_list then
  -- a blocking move may have put a task aside (two, when a connection was replaced while its move was blocked); what
  -- is not wanted any more goes back to where it came from, the oldest outermost
  local fresh, known = {}, {}
  repeat
    local woken = redis.call('RPOP', WAKE)
    fresh[#fresh + 1] = woken or nil
  until not woken
  local wary = not broken and (with_carried or redis.call('EXISTS', HISTORY, PASTS, SUSPECTS) > 0)
  if wary then
    drop_results()
    holding = redis.call('HLEN', INFLIGHT)
    apart = keeps_apart()
    if apart then want = 0 end
  end
  local aside = wary and holding == 0 and want > 0 and redis.call('RPOP', SUSPECTS)
  if #fresh > 0 then put_back(fresh, known, aside and 0 or math.max(0, want - #tasks)) end
  if aside then
    local bar = string.find(aside, '|', 1, true)
    fresh, known = {string.sub(aside, bar + 1)}, {string.sub(aside, 1, bar - 1)}
  else
    local more = want - #tasks - #fresh
    if more > 0 then
      local popped = redis.call('RPOP', QUEUE, more) or {}
      if #fresh == 0 then fresh = popped else for i = 1, #popped do fresh[#fresh + 1] = popped[i] end end
    end
    if wary then fresh, known = sift(fresh) end
  end
  if #fresh > 0 then
    local fields, add = {}, #tasks
    if add == 0 then tasks = fresh else for i = 1, #fresh do tasks[add + i] = fresh[i] end end
    -- numbers become text by way of floating point, which costs more than the rest here: once for ten receipts
    local prefix
    for i = 1, #fresh do
      seq = seq + 1
      local low = seq % 10
      if low == 0 or not prefix then
        prefix = epoch .. '-' .. (seq > 9 and string.format('%.0f', (seq - low) / 10) or '')
      end
      local receipt = prefix .. DIGITS[low]
      fields[2 * i - 1], fields[2 * i] = receipt, fresh[i]
      local past = known[i]
      if past then
        redis.call('HSET', CARRIED, receipt, past)
        pasts[#pasts + 1] = add + i
        pasts[#pasts + 1] = past
      end
    end
    slices('HSET', INFLIGHT, fields)
    redis.call('HINCRBY', STATS, 'taken', #fresh)
  end
  if wary and not apart then
    holding = redis.call('HLEN', INFLIGHT)
    apart = keeps_apart()
  end
  length = redis.call('LLEN', QUEUE)
end

-- last, so that under load the in-flight hash is never empty: one that begins anew is a list at first, which each new field
-- is looked for in from end to end
drop_results()

-- a turn that is repeated is the one that it was, unless it took more
local made = repeated and seq == known and tonumber(worker[7]) or now
redis.call('HSET', WORKER, 'turn', turn.number, 'seq', seq, 'state', turn.state, 'at', made,
  'before', answered)
redis.call('HSET', LOAD, turn.worker, redis.call('HLEN', INFLIGHT))
redis.call('ZADD', WORKERS, now + turn.leaseMs, turn.worker)
-- what is due and was too much for this turn wants another one at once
local next_in = due_at and not broken and math.max(0, due_at - now) or -1
local marks = with_marks and (tonumber(redis.call('HGET', STATS, 'marks')) or 1) or 0
return {1, now, broken or length, drain and 1 or paused and 2 or 0, first, tasks, pasts, next_in, marks, apart and 1 or 0,
  made}
