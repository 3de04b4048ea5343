-- One turn of a worker: settle what finished, take what comes next, renew the lease. All or nothing, in one round trip.
--
-- KEYS  1 queue  2 result  3 workers  4 worker  5 inflight  6 carried  7 wake  8 delayed  9 dead  10 errors
--       11 stats  12 history  13 load  14 paused  15 cancelled  16 expiry
--       17 suspects  18 isolator  19 pasts  20 emptying  21 apart  22 clock
-- ARGV  1 what the worker says, packed as one MessagePack object (queue/workers/pack.ts):
--         worker, epoch   texts
--         number          of the turn, one more than the last one's unless this repeats it
--         form            of what is settled: 0, and another number where that differs from what was sent under the same
--                         number of a turn before
--         seen            highest receipt counter that the worker has seen
--         heard           when the last turn was made whose reply it saw, 0 before the first; may be left out
--         holds           how many tasks it holds, those that it settles here included; may be left out
--         want            how many tasks it takes; a turn takes 1000 at most
--         elsewhere       tasks of its other queues that it holds
--         together        suspects that it takes together, if it may; 0 while it must not take any
--         emptyIn         ms until it will hold nothing, as far as it can tell
--         leaseMs, state
--         serviceUs       service time of the settled tasks in all
--         squaresMs2      sum of the squares of those service times, where the worker measured them
--         slow            {bucket, …} of the slow ones among them (pool/slow-tasks.ts)
--         receipts        {receipt, …} of the results
--         results         {id, value, …}
--         retries         {{receipt, delayMs, past = "attempts:deliveries"}, …}
--         dead            {{receipt, id, header = JSON}, …}; without an id, no waiting client is told
--         released        {receipt, …}
--         cancelled       {{receipt, id, header = JSON}, …}
--       2… long ids, values and headers, each as it is: where one of these is a number, it is the one in that argument
-- Returns  {0} when the worker is fenced, and nothing was done: it has no lease of this epoch, or this server does not
--           know the worker as it knows itself (below); else
--          {1, Redis time in ms, length of the queue or an error in words, orders (0: none, 1: drain, 2: the queue is
--           paused), counter of the first task,
--           {task, …}, {index, past, …} for the tasks that have one (parsePast in workers/turn.ts),
--           ms until the next delayed task falls due, or -1,
--           0 when no task is marked as cancelled, else a number that changes with every mark,
--           1 when the worker is given nothing more until it holds nothing,
--           Redis time in ms when this turn was made, which is earlier where this is its repetition,
--           suspects that wait aside,
--           the form that was done: of a repeated turn, the one that was sent first}
-- The worker's hash may hold the policies of its pool: resultTtl (ms), deadMax, deadMaxAge (ms) and maxDeliveries.
--
-- Before: every task of this worker is in its in-flight hash (or in its wake list). After: each settled task is gone
-- from there and is in exactly one of result, delayed, dead or queue, or was cancelled and is in errors; each returned
-- task is in flight with a receipt `epoch-counter`. Repeating a turn after a lost reply changes nothing more and returns
-- the same tasks again.
-- A turn older than the last one (a packet that was long on its way) is refused, and so is one that would have to
-- write to a key of another type: of that only the lease is renewed, so that what the worker holds
-- waits there until the key is right, and is not run by one worker after the other meanwhile.
-- A server may go back: a failover to a replica that lags, a restart from an older snapshot. Then it knows less of a
-- worker than the worker does, and would take its next turn for another one. So a turn is fenced unless the server's
-- last turn is the one that the worker saw answered, or this very turn, and unless exactly the tasks are in flight that
-- the worker holds. A new epoch begins from what the server has; what is in flight there goes back to the queue.
-- Cancelled: whoever was first wins. A result or a dead letter takes the mark away; a task that is settled as cancelled
-- and has no mark any more (it was enqueued again) goes back to the queue.
--
-- A suspect is a task that was in flight in a worker which was lost. Suspects are never in flight beside others, and are
-- narrowed down by halves: at most half of those that were lost together are taken together, by a worker that holds nothing,
-- so that one more loss clears the other half. One that the next loss may condemn is taken alone. A worker that holds
-- something puts the suspects that it meets aside. While some wait there, the one that says that it will be empty first (the
-- isolator) takes nothing more until it is, unless that would take longer than they have waited. What is put aside carries
-- its past along; a worker that is the last one to go, or the controller, brings it back (rejoin.lua).
--
-- What a turn moves is bounded in bytes as well as in number, because Redis does nothing else meanwhile, and what Lua holds
-- counts as its memory: it ends with the task that reaches the bound. The size of a task is only known when it is in hand, so
-- they are taken one by one where large ones were seen lately, or nothing is known yet, else a few and then more at a time.
local CHUNK = 2000
-- tasks that a turn takes at most: some ms of Redis
local MOST = 1000
local PROMOTE = 100
-- bytes that a turn takes, and that it puts back from the delayed tasks: some ms of Redis
local ROOM = 4 * 1024 * 1024
local PROMOTE_ROOM = 1024 * 1024
-- tasks that are taken in one command, at first and at most: as many as were taken before in this turn
local STEP, LONGEST_STEP = 4, 32
-- a task of more bytes is large; for so many turns after the last one, and at first, tasks are taken one by one
local LARGE = 64 * 1024
local CAREFUL, FIRST = 1000, 16
-- a worker empties itself for as long as suspects have waited, and for so long anyway, ms
local PATIENCE = 5000
local MAX_DELIVERIES = 5
local DEAD_KEPT = 10000
-- old dead letters that a turn drops beyond one for each new one
local BURY = 50
-- how long a waiting client can be told that a task was cancelled, ms
local CANCELLED_KEPT = 24 * 3600 * 1000
local DIGITS = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}

local QUEUE, RESULT, WORKERS, WORKER, INFLIGHT, CARRIED, WAKE, DELAYED, DEAD, ERRORS, STATS, HISTORY, LOAD, PAUSED,
  CANCELLED, EXPIRY, SUSPECTS, ISOLATOR, PASTS, EMPTYING, APART, CLOCK = unpack(KEYS)
local turn = cmsgpack.unpack(ARGV[1])
local epoch, want, results = turn.epoch, turn.want, turn.results

local worker = redis.call('HMGET', WORKER, 'epoch', 'turn', 'seq', 'drain', 'resultTtl', 'expiry', 'at', 'before',
  'alone', 'elsewhere', 'large', 'maxDeliveries', 'form', 'settled')
if worker[1] ~= epoch then return {0} end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last = tonumber(worker[2])
if turn.number < last then
  return redis.error_reply('STALE turn ' .. turn.number .. ' came after turn ' .. last)
end
local repeated = turn.number == last
local form = repeated and tonumber(worker[13]) or turn.form
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
local settled = completed + #turn.retries + #turn.dead + #turn.released + #turn.cancelled
if repeated then settled = tonumber(worker[14]) or settled end
local function as_many_as_held()
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
want = math.min(want, MOST)
-- with them, an outcome that cannot be written leaves no other one half done
local returning = #turn.released + #turn.cancelled
local told = completed + #turn.dead + #turn.cancelled > 0 and redis.pcall('HLEN', ERRORS) or 0
local unfit = returning > 0 and no_list or completed > 0 and no_hash
  or #turn.retries > 0 and misfit(redis.pcall('ZCARD', DELAYED), DELAYED)
  or #turn.dead > 0 and misfit(redis.pcall('LLEN', DEAD), DEAD)
  or #turn.dead + #turn.cancelled > 0 and misfit(told, ERRORS)
-- Queue time, ms: a clock that runs while Redis takes writes of this queue, and by which leases are measured. No step of
-- the server's clock moves it, and while Redis is away or refuses to write it stands still, but for `most`: a healthy worker
-- makes a turn within that. turn.lua, renew.lua, register.lua, reap.lua and overdue.lua have the same function.
local function queue_time(key, now)
  local at, ms, lease = unpack(redis.call('HMGET', key, 'at', 'ms', 'lease'))
  local most = math.min(2000, (tonumber(lease) or 15000) / 3)
  at, ms = tonumber(at) or now, tonumber(ms) or 0
  local passed = now - at
  -- written some times a lease only
  local fresh = math.abs(passed) >= most / 8 or passed == 0
  return fresh and ms + math.max(0, math.min(passed, most)) or ms, fresh
end

local function renew()
  local ms, fresh = queue_time(CLOCK, now)
  if fresh then redis.call('HSET', CLOCK, 'at', now, 'ms', ms) end
  redis.call('ZADD', WORKERS, now + turn.leaseMs, turn.worker)
  return ms + turn.leaseMs
end

-- of a turn that cannot be made now, only the lease is renewed
local function refuse(why)
  -- Redis allows this when memory is short, and then the rest too
  redis.call('HDEL', WORKER, '')
  redis.call('HSET', WORKER, 'till', renew())
  return redis.error_reply((string.gsub(why, '^%-', '')))
end

if not repeated and unfit then return refuse(unfit) end

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

-- drops the oldest dead letters over the limit of number or age (some in each turn, where a limit was lowered), and with
-- each its error, unless a later one has replaced that
local burials = BURY + #turn.dead
local function bury(kept, since)
  while burials > 0 do
    local oldest = redis.call('LINDEX', DEAD, -1)
    if not oldest then break end
    if redis.call('LLEN', DEAD) <= kept and (tonumber(string.match(oldest, '^%d+')) or 0) >= since then break end
    burials = burials - 1
    local header, raw = string.match(redis.call('RPOP', DEAD), '^%d+ ([^\n]*)\n(.*)$')
    local read, about = pcall(cjson.decode, header or '')
    local id = read and type(about) == 'table' and about.id or raw
    if id and redis.call('HGET', ERRORS, id) == header then redis.call('HDEL', ERRORS, id) end
  end
end

-- an id, a value or a header: itself, or the argument that holds it
local function bytes(value)
  return type(value) == 'number' and ARGV[value] or value
end
if #ARGV > 1 then
  for i = 1, #results do results[i] = bytes(results[i]) end
end

-- one command for many values: Lua's stack does not hold all of them at once
local function slices(command, key, values, first)
  for from = first or 1, #values, CHUNK do
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
    local to = math.min(CHUNK, #results)
    local first = redis.pcall('HSET', RESULT, unpack(results, 1, to))
    if type(first) == 'table' and first.err then return refuse(first.err) end
    slices('HSET', RESULT, results, to + 1)
    redis.call('HINCRBY', STATS, 'completed', completed)
    if worker[5] then expire(tonumber(worker[5])) end
    if with_marks then
      for i = 1, #results, 2 do redis.call('ZREM', CANCELLED, results[i]) end
    end
    if type(told) == 'number' and told > 0 then
      for i = 1, #results, 2 do redis.call('HDEL', ERRORS, results[i]) end
    end
  end
  if completed + #turn.retries + #turn.dead > 0 then
    local first = redis.pcall('HINCRBY', STATS, 'serviceUs', turn.serviceUs)
    if type(first) == 'table' and first.err then return refuse(first.err) end
    if turn.squaresMs2 then
      -- in s², as a float: an integer would overflow with long tasks, and be refused in the midst of a turn
      local sums = redis.call('HMGET', STATS, 'squaredTasks', 'squaresS2')
      redis.call('HSET', STATS,
        'squaredTasks', (tonumber(sums[1]) or 0) + completed + #turn.retries + #turn.dead,
        'squaresS2', string.format('%.17g', (tonumber(sums[2]) or 0) + turn.squaresMs2 / 1e6))
    end
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
      local id, header = bytes(letter.id), bytes(letter.header)
      redis.call('LPUSH', DEAD, string.format('%.0f', now) .. ' ' .. header .. '\n' .. raw)
      if id then
        redis.call('HSET', ERRORS, id, header)
        if with_marks then redis.call('ZREM', CANCELLED, id) end
      end
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
        local header = bytes(entry.header)
        redis.call('HSET', ERRORS, id, header)
        redis.call('ZADD', EXPIRY, now + CANCELLED_KEPT, 'e' .. fingerprint(header) .. '|' .. id)
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
local last_large = tonumber(worker[11]) or FIRST - CAREFUL
local function saw(bytes)
  if bytes > LARGE then last_large = turn.number end
end
local function step(taken)
  if turn.number - last_large < CAREFUL then return 1 end
  return math.max(STEP, math.min(taken, LONGEST_STEP))
end

local due_at, promoted, promote_room = next_due(), 0, PROMOTE_ROOM
while due_at and due_at <= now and not broken and promoted < PROMOTE and promote_room > 0 do
  local members = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, step(promoted))
  -- removed first: Redis allows that when memory is short, and then the rest of the script too
  redis.call('ZREMRANGEBYRANK', DELAYED, 0, #members - 1)
  for _, member in ipairs(members) do
    local attempts, deliveries, at = string.match(member, '^[^|]*|(%d+)|(%d+)|()')
    -- what something else put there is a task as it is: an error here would lose it and those that fell due with it
    if not at then attempts, deliveries, at = '0', '0', 1 end
    local raw = string.sub(member, at)
    redis.call('LPUSH', QUEUE, raw)
    if attempts ~= '0' or deliveries ~= '0' then remember(raw, attempts .. ':' .. deliveries) end
    promote_room = promote_room - #member
    saw(#member)
  end
  promoted = promoted + #members
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

local elsewhere, together = turn.elsewhere or 0, turn.together or 1
local alone = worker[9] == '1' -- what this worker holds of this queue are suspects
local holding = 0

-- whether this worker has to take nothing more: it holds suspects, or empties itself for some that wait
local function keeps_apart()
  if holding > 0 and alone then return true end
  local mine = redis.call('GET', ISOLATOR) == turn.worker
  local idle = holding == 0 and elsewhere == 0
  if idle or drain or paused or string.find(turn.state, '^drain') or redis.call('LLEN', SUSPECTS) == 0 then
    redis.call('ZREM', EMPTYING, turn.worker)
    -- who is empty keeps the role while it takes one after the other
    if mine and not idle then redis.call('DEL', ISOLATOR) end
    return false
  end
  -- each says when it will be empty; whoever takes nothing more is held to its word, the others speak of now
  local empty_at = mine and tonumber(redis.call('ZMSCORE', EMPTYING, turn.worker)[1]) or 0
  if empty_at <= now then
    empty_at = now + (turn.emptyIn or 0)
    redis.call('ZADD', EMPTYING, empty_at, turn.worker)
  end
  redis.call('EXPIRE', EMPTYING, 60)
  local silent = redis.call('ZRANGEBYSCORE', EMPTYING, '-inf', now - 2000)
  if #silent > 0 then redis.call('ZREM', EMPTYING, unpack(silent, 1, math.min(#silent, CHUNK))) end
  local waited = now - (tonumber(redis.call('HGET', STATS, 'asideSince')) or now)
  local first_empty = redis.call('ZRANGE', EMPTYING, 0, 0)[1] == turn.worker
  if not first_empty or empty_at - now > math.max(PATIENCE, waited) then
    if mine then redis.call('DEL', ISOLATOR) end
    return false
  end
  redis.call('SET', ISOLATOR, turn.worker, 'PX', PATIENCE)
  return true
end

-- how many suspects may be in flight together with one of this past
local function fellows(past)
  local deliveries, company = string.match(past, '^%d+:(%d+):?[^:]*:?(%d*)')
  if tonumber(deliveries) >= (tonumber(worker[12]) or MAX_DELIVERIES) - 1 then return 1 end
  local half = math.floor((tonumber(company) or 1) / 2)
  return half < 3 and 1 or half
end

-- those that only go alone are counted: each of them needs a whole worker for itself
local function put_aside(raw, past)
  if redis.call('LPUSH', SUSPECTS, past .. '|' .. raw) == 1 then
    redis.call('HSET', STATS, 'asideSince', string.format('%.0f', now), 'asideAlone', 0)
  end
  if fellows(past) == 1 then redis.call('HINCRBY', STATS, 'asideAlone', 1) end
end

-- the next suspect that was put aside, if any: its bytes and its past
local function from_aside()
  local entry = redis.call('RPOP', SUSPECTS)
  if not entry then return nil end
  local bar = string.find(entry, '|', 1, true)
  return string.sub(entry, bar + 1), string.sub(entry, 1, bar - 1)
end

local function from_queue()
  local raw = redis.call('RPOP', QUEUE)
  if raw then return raw, recall(raw) end
end

local function back_to_queue(raw, past)
  if past then remember(raw, past) end
  redis.call('RPUSH', QUEUE, raw)
end

local fresh, past_of, room = {}, {}, ROOM
local function keep(raw, past)
  fresh[#fresh + 1] = raw
  past_of[#fresh] = past
  room = room - #raw
  saw(#raw)
end

-- takes suspects that may be in flight together, the first of which is in hand; the one that does not belong goes back
local function gather(raw, past, more, following, give_back)
  local most = math.min(together, more, fellows(past))
  keep(raw, past)
  while #fresh < most and room > 0 do
    raw, past = following()
    if not raw then return end
    local limit = suspect(past) and fellows(past) or 0
    if limit <= #fresh then return give_back(raw, past) end
    most = math.min(most, limit)
    keep(raw, past)
  end
end

-- looks at up to `more` tasks one by one, `woken` first, which may be suspects: who may take them?
local function sift(woken, more, empty)
  local at = 1
  local function following()
    local raw = woken[at]
    if not raw then return from_queue() end
    at = at + 1
    return raw, recall(raw)
  end
  for _ = 1, more do
    if room <= 0 then break end
    local raw, past = following()
    if not raw then break end
    if not suspect(past) then
      keep(raw, past)
    elseif empty and #fresh == 0 then
      alone = true
      gather(raw, past, more, following, back_to_queue)
      break
    else
      put_aside(raw, past)
      room = room - #raw
    end
  end
  for i = #woken, at, -1 do redis.call('RPUSH', QUEUE, woken[i]) end
end

-- takes up to `more` tasks, `woken` first, none of which has a past. Most tasks come this way: no calls for each of them
local function take(woken, more)
  for i = 1, #woken do keep(woken[i]) end
  local count, left = #fresh, room
  while count < more and left > 0 do
    local popped = redis.call('RPOP', QUEUE, math.min(step(count), more - count))
    if not popped then break end
    local taken, there = 0, #popped
    repeat
      taken, count = taken + 1, count + 1
      local raw = popped[taken]
      fresh[count] = raw
      left = left - #raw
      if #raw > LARGE then last_large = turn.number end
    until taken == there or left <= 0
    for i = there, taken + 1, -1 do redis.call('RPUSH', QUEUE, popped[i]) end
  end
end

local apart, aside = false, 0
if not no_list then
  -- a blocking move may have put a task aside (two, when a connection was replaced while its move was blocked); what
  -- is not wanted any more goes back to where it came from, the oldest outermost
  local woken = {}
  repeat
    local raw = redis.call('RPOP', WAKE)
    woken[#woken + 1] = raw or nil
  until not raw
  local wary = not broken and (with_carried or redis.call('EXISTS', HISTORY, PASTS, SUSPECTS) > 0)
  if wary then
    drop_results()
    holding = redis.call('HLEN', INFLIGHT)
    if holding == 0 then alone = false end
    apart = keeps_apart()
    if apart then want = 0 end
  end
  local more = math.max(0, want - #tasks)
  local empty = wary and holding == 0 and elsewhere == 0 and together > 0 and more > 0
  local raw, past
  if empty then raw, past = from_aside() end
  while #woken > (raw and 0 or more) do redis.call('RPUSH', QUEUE, table.remove(woken)) end
  if raw then
    alone = true
    -- fellows of theirs may not have been met yet
    local gone, here = fellows(past) == 1 and 1 or 0, true
    gather(raw, past, more, function()
      local other, its
      if here then other, its = from_aside() end
      if other and fellows(its) == 1 then gone = gone + 1 end
      if other then return other, its end
      here = false
      return from_queue()
    end, function(other, its)
      if not here then return back_to_queue(other, its) end
      if fellows(its) == 1 then gone = gone - 1 end
      redis.call('RPUSH', SUSPECTS, its .. '|' .. other)
    end)
    if redis.call('EXISTS', SUSPECTS) == 0 then
      redis.call('DEL', EMPTYING)
      redis.call('HDEL', STATS, 'asideAlone', 'asideSince')
    else
      redis.call('HINCRBY', STATS, 'asideAlone', string.format('%.0f', 0 - gone))
      redis.call('HSET', STATS, 'asideSince', string.format('%.0f', now))
    end
  elseif wary then
    sift(woken, more, empty)
  else
    take(woken, more)
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
      local past = past_of[i]
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
  aside = wary and redis.call('LLEN', SUSPECTS) or 0
  length = redis.call('LLEN', QUEUE)
end

-- last, so that under load the in-flight hash is never empty: one that begins anew is a list at first, which each new field
-- is looked for in from end to end
drop_results()

-- a turn that is repeated is the one that it was, unless it took more
local made = repeated and seq == known and tonumber(worker[7]) or now
redis.call('HSET', WORKER, 'till', renew(), 'turn', turn.number, 'form', form, 'settled', settled, 'seq', seq, 'state', turn.state,
  'at', made, 'before', answered)
-- what seldom changes
if alone ~= (worker[9] == '1') then
  redis.call('HSET', WORKER, 'alone', alone and 1 or 0)
  if alone then redis.call('HSET', APART, turn.worker, 1) else redis.call('HDEL', APART, turn.worker) end
end
if elsewhere ~= (tonumber(worker[10]) or 0) then redis.call('HSET', WORKER, 'elsewhere', elsewhere) end
if last_large > 0 and last_large ~= tonumber(worker[11]) then redis.call('HSET', WORKER, 'large', last_large) end
redis.call('HSET', LOAD, turn.worker, redis.call('HLEN', INFLIGHT))
-- what is due and was too much for this turn wants another one at once
local next_in = due_at and not broken and math.max(0, due_at - now) or -1
local marks = with_marks and (tonumber(redis.call('HGET', STATS, 'marks')) or 1) or 0
return {1, now, broken or length, drain and 1 or paused and 2 or 0, first, tasks, pasts, next_in, marks, apart and 1 or 0,
  made, aside, form}
