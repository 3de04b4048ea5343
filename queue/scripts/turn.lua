-- One turn of a worker: settle what finished, take what comes next, renew the lease. All or nothing, in one round trip.
--
-- KEYS  1 queue  2 result  3 workers  4 worker  5 inflight  6 carried  7 wake  8 delayed  9 dead  10 errors
--       11 stats  12 history  13 load  14 paused  15 cancelled  16 expiry
--       17 suspects  18 isolator  19 pasts  20 emptying  21 apart  22 clock
-- ARGV  1 the request, packed as one MessagePack object (queue/workers/pack.ts); each part with a default may be left out:
--         worker, epoch   texts
--         number          of the turn, one more than the last one's unless this repeats it
--         form            of what is settled: 0 by default, another number where that differs from what was sent before
--                         under the same number of a turn
--         seen            highest receipt counter that the worker has seen
--         heard           when the last turn was made whose reply it received, 0 before the first; none by default
--         holds           how many tasks it holds, those that it settles here included; unknown by default
--         want            how many tasks it takes; a turn takes 1000 at most
--         elsewhere       tasks of its other queues that it holds; 0 by default
--         together        suspects that it may take together, 0 while it must not take any; 1 by default
--         emptyIn         ms until it will hold nothing, by its estimate; 0 by default
--         leaseMs, state
--         serviceUs       service time of the settled tasks in all
--         squaresMs2      sum of the squares of those service times, where the worker measured them
--         slow            {bucket, …} of the slow ones among them (pool/slow-tasks.ts); none by default, as in the lists
--                         that follow the results
--         receipts        {receipt, …} of the results
--         results         {id, value, …}
--         stored          they are in a hash on another server already (store.lua), and the values here are empty
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
-- task is in flight with a receipt, `<last five digits of the epoch>-<counter>`. Repeating a turn after a lost reply
-- changes nothing more and returns the same tasks again.
-- A turn older than the last one (a packet that was delayed on its way) is refused, and so is one that would have to
-- write to a key of another type: then only the lease is renewed, so that what the worker holds stays there until
-- the key is right, and is not run by one worker after the other meanwhile.
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
local QUEUE, RESULT, WORKERS, WORKER, INFLIGHT, CARRIED, WAKE, DELAYED, DEAD, ERRORS, STATS, HISTORY, LOAD, PAUSED,
  CANCELLED, EXPIRY, SUSPECTS, ISOLATOR, PASTS, EMPTYING, APART, CLOCK = unpack(KEYS)
local call = redis.call
-- bytes that a turn takes: some ms of Redis
local ROOM = 4 * 1024 * 1024
-- a task of more bytes is large; for so many turns after the last one, and at first, tasks are taken one by one
local LARGE = 64 * 1024
local CAREFUL, FIRST = 1000, 16
local turn = cmsgpack.unpack(ARGV[1])
-- the receipts of an epoch begin with this; they are short because Redis handles each of them five times
local prefix = string.sub(turn.epoch, -5) .. '-'
-- what a turn has none of is left out
local none = {}
local retries, dead, released, cancelled = turn.retries or none, turn.dead or none, turn.released or none,
  turn.cancelled or none
-- what is known of the turn and has been done in it so far; `admit` begins it
local s

-- one command for many values: Lua's stack does not hold all of them at once. Returns the sum of its replies.
local function slices(command, key, values, first)
  local sum, size = 0, 2000
  for from = first or 1, #values, size do
    sum = sum + call(command, key, unpack(values, from, math.min(from + size - 1, #values)))
  end
  return sum
end

-- an id, a value or a header: itself, or the argument that holds it
local function bytes(value)
  return type(value) == 'number' and ARGV[value] or value
end

-- Adds to a counter. One that is no number, because something else wrote it, begins anew: an error here, at the end of a turn,
-- would stop all that follow. turn.lua and reap.lua have the same function.
local function tally(key, field, by)
  if type(redis.pcall('HINCRBY', key, field, by)) ~= 'number' then
    redis.pcall('HSET', key, field, math.max(by, 0))
  end
end

-- a sum that was read back, 0 where it is none
local function sum_of(text, below)
  local sum = tonumber(text)
  return sum and sum >= 0 and sum < below and sum or 0
end

-- why a key cannot be used, by the reply to a command that reads its size; nothing where it can
local function misfit(size, key)
  return type(size) == 'table' and size.err and string.format('%s (the key is "%s")', size.err, key) or nil
end

-- Nothing is taken for this reason, which the reply tells.
local function take_nothing(why)
  s.broken, s.want = s.broken or why, 0
end

-- Reads what this server knows of the worker. Returns the reply to a turn that is fenced or stale; of others, nothing.
local function admit()
  local worker = call('HMGET', WORKER, 'epoch', 'turn', 'seq', 'drain', 'at', 'before', 'form', 'settled',
    'state', 'renewed', 'resultTtl', 'alone', 'elsewhere', 'large')
  local last, seq = tonumber(worker[2]), tonumber(worker[3])
  if worker[1] ~= turn.epoch or not last or not seq then return {0} end
  local clock = call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  if turn.number < last then
    return redis.error_reply('STALE turn ' .. turn.number .. ' came after turn ' .. last)
  end
  local repeated = turn.number == last
  local settled = #turn.receipts + #retries + #dead + #released + #cancelled
  s = {
    -- what the worker's hash says, in the order above
    worker = worker,
    -- Redis' time, ms
    now = now, now_text = string.format('%.0f', now),
    repeated = repeated,
    form = repeated and tonumber(worker[7]) or turn.form or 0,
    settled = repeated and tonumber(worker[8]) or settled,
    -- when the last turn that the worker saw answered was made, as far as this server knows
    answered = worker[repeated and 6 or 5] or '0',
    drain = (tonumber(worker[4]) or 0) > now,
    -- the highest receipt counter: of the last turn, and of this one so far
    known = seq, seq = seq,
    -- tasks in flight before this turn; those that have left since, and those that came to the queue
    in_hand = call('HLEN', INFLIGHT), left = 0, arrived = 0, taken = 0,
    want = math.min(turn.want, 1000),
    -- the turn of the last large task
    last_large = tonumber(worker[14]) or FIRST - CAREFUL,
    -- what this worker holds of this queue are suspects
    alone = worker[12] == '1',
    dropped = repeated or #turn.receipts == 0,
  }
  if turn.number > last + 1 or turn.seen > seq then return {0} end
  if turn.heard and turn.heard ~= tonumber(s.answered) then return {0} end
  if turn.holds then
    -- by number, which costs nothing: a worker that saw all answers knows every receipt that there is
    local expected = turn.holds + seq - turn.seen - (repeated and s.settled or 0)
    if s.in_hand ~= expected then return {0} end
    return
  end
  -- each task that is settled here has to be in flight, and each that was taken and that the worker has not seen
  local receipts = {}
  for counter = turn.seen + 1, seq do receipts[#receipts + 1] = prefix .. string.format('%.0f', counter) end
  if not repeated then
    for _, of in ipairs({turn.receipts, released}) do
      for _, receipt in ipairs(of) do receipts[#receipts + 1] = receipt end
    end
    for _, of in ipairs({retries, dead, cancelled}) do
      for _, entry in ipairs(of) do receipts[#receipts + 1] = entry.receipt end
    end
  end
  for _, receipt in ipairs(receipts) do
    if call('HEXISTS', INFLIGHT, receipt) == 0 then return {0} end
  end
end

-- Looks at the keys of the queue. A key of another type is never touched: with a wrong queue, results still go out, but nothing
-- is taken or handed back; with a wrong result, nothing is taken, because it could not be answered. Returns why outcomes of this
-- turn cannot be written, so that none of them is written then; nothing where all can.
local function look()
  local length, size = redis.pcall('LLEN', QUEUE), redis.pcall('HLEN', RESULT)
  local no_list, no_hash = misfit(length, QUEUE), misfit(size, RESULT)
  s.length, s.no_list, s.no_hash, s.broken = length, no_list, no_hash, no_list or no_hash
  -- what is seldom there is asked for in one command, and each by itself only if one is
  local seldom = call('EXISTS', PAUSED, CARRIED, CANCELLED, HISTORY, PASTS, SUSPECTS) > 0
  if seldom then
    s.seldom = true
    s.paused = call('EXISTS', PAUSED) == 1
    local carried, marks = redis.pcall('HLEN', CARRIED), redis.pcall('ZCARD', CANCELLED)
    local unfit = misfit(carried, CARRIED) or misfit(marks, CANCELLED) or misfit(redis.pcall('HLEN', HISTORY), HISTORY)
      or misfit(redis.pcall('HLEN', PASTS), PASTS) or misfit(redis.pcall('LLEN', SUSPECTS), SUSPECTS)
    if unfit then return unfit end
    s.with_carried, s.with_marks = carried > 0, marks > 0
  end
  -- many turns in a hundredth of a lease renew it once
  local since = s.now - (tonumber(s.worker[10]) or 0)
  s.renews = since < 0 or since >= turn.leaseMs / 100
  if s.renews then
    local unfit = misfit(redis.pcall('HLEN', CLOCK), CLOCK) or misfit(redis.pcall('ZCARD', WORKERS), WORKERS)
    if unfit then return unfit end
  end
  -- who drains gets nothing: the mark may have come after the worker asked
  if s.broken or s.paused or s.drain then s.want = 0 end
  if s.repeated or s.settled == 0 then return end
  local completed = #turn.receipts
  if completed + #dead + #cancelled > 0 then s.errors = redis.pcall('HLEN', ERRORS) end
  local expires = completed > 0 and s.worker[11] or #dead + #cancelled > 0
  local unfit = expires and misfit(redis.pcall('ZCARD', EXPIRY), EXPIRY)
  if unfit then return unfit end
  if completed == s.settled then return completed > 0 and no_hash end
  return #released + #cancelled > 0 and no_list or completed > 0 and no_hash
    or #retries > 0 and misfit(redis.pcall('ZCARD', DELAYED), DELAYED)
    or #dead > 0 and misfit(redis.pcall('LLEN', DEAD), DEAD)
    or #dead + #cancelled > 0 and misfit(s.errors, ERRORS)
end

local function saw(size)
  if size > LARGE then s.last_large = turn.number end
end

-- tasks that are taken in one command, after so many in this turn
local function step(taken)
  if turn.number - s.last_large < CAREFUL then return 1 end
  return math.max(4, math.min(taken, 32))
end

-- What few turns need. Lua creates each function anew in every turn, at a cost that grows with the locals that it uses, so these
-- are created when the first of them is needed.
local function rare()
  if s.rare then return s.rare end

  -- a short and unique name for a task's bytes
  local function digest(raw)
    if #raw <= 40 then return '=' .. raw end
    return '#' .. redis.sha1hex(raw)
  end

  -- Stores the past of a task that goes back to the list. Equal tasks share a name but have a past each: the first few are in one
  -- text (history), which earlier versions read, too; all others in a stack of runs (pasts), so that each costs the same. The
  -- field of the name holds the top run, `runs below:tasks:past`; the n-th below it is `tasks:past` under `n|name`.
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

  -- tells a value from a later one under the same id: see sweep.lua, which has the same function
  local function fingerprint(value)
    if #value > 4096 then value = #value .. string.sub(value, 1, 64) .. string.sub(value, -64) end
    return string.sub(redis.sha1hex(value), 1, 16)
  end

  -- Queue time, ms: leases are measured by it. It advances while Redis accepts writes of this queue, whatever steps the server's
  -- clock makes; while Redis is away or refuses writes it advances by `most` at most, within which a healthy worker makes a
  -- turn. turn.lua, renew.lua, register.lua, reap.lua and overdue.lua have the same function.
  local function queue_time(key, now)
    local at, ms, lease = unpack(redis.call('HMGET', key, 'at', 'ms', 'lease'))
    at, ms, lease = tonumber(at), tonumber(ms), tonumber(lease)
    local most = lease and lease > 0 and math.min(2000, lease / 3) or 2000
    -- one that was lost, or is no number, begins anew at the server's time: no lease of before ends later than that
    if not (at and at == at and ms and ms >= 0 and ms < 2 ^ 53) then at, ms = now, now end
    local passed = now - at
    -- written some times a lease only
    local fresh = math.abs(passed) >= most / 8 or passed == 0
    return fresh and ms + math.max(0, math.min(passed, most)) or ms, fresh
  end

  -- Renews the lease. Returns when it ends by queue time.
  local function renew()
    local ms, fresh = queue_time(CLOCK, s.now)
    if fresh then call('HSET', CLOCK, 'at', s.now, 'ms', ms) end
    call('ZADD', WORKERS, s.now + turn.leaseMs, turn.worker)
    return ms + turn.leaseMs
  end

  -- Of a turn that cannot be made now, only the lease is renewed. Returns the reply.
  local function refuse(why)
    -- Redis allows this when memory is short, and then the rest too
    call('HDEL', WORKER, '')
    -- the keys of leases may be the ones that are of another type
    local renewed, till = pcall(renew)
    if renewed then call('HSET', WORKER, 'till', till) end
    return redis.error_reply((string.gsub(why, '^%-', '')))
  end

  -- Lets the results go after a while: the server does it where it can (Redis >= 7.4, Valkey >= 9, and the user may), else
  -- sweep.lua does. Which of the two is found out once an epoch.
  local function expire_results()
    local results, ttl = turn.results, tonumber(s.worker[11])
    local swept = call('HGET', WORKER, 'expiry') == 'swept'
    if not swept then
      local ids = {}
      for i = 1, #results, 2 do ids[#ids + 1] = results[i] end
      for from = 1, #ids, 2000 do
        local to = math.min(from + 1999, #ids)
        local done = redis.pcall('HPEXPIRE', RESULT, ttl, 'FIELDS', to - from + 1, unpack(ids, from, to))
        if type(done) ~= 'table' or done.err then
          call('HSET', WORKER, 'expiry', 'swept')
          swept = true
          break
        end
      end
    end
    if not swept then return end
    local due = {}
    for i = 1, #results, 2 do
      due[#due + 1] = s.now + ttl
      due[#due + 1] = 'r' .. fingerprint(results[i + 1]) .. '|' .. results[i]
    end
    slices('ZADD', EXPIRY, due)
  end

  -- The outcomes that are no results: tasks that are tried again, are given up, go back or were cancelled.
  local function settle_others()
    local function leave(receipt)
      s.left = s.left + call('HDEL', INFLIGHT, receipt)
      call('HDEL', CARRIED, receipt)
    end

    local function hand_back(receipt, raw)
      local past = call('HGET', CARRIED, receipt)
      if past then remember(raw, past) end
      s.remembered = s.remembered or past
      call('RPUSH', QUEUE, raw)
      s.arrived = s.arrived + 1
      tally(STATS, 'taken', -1)
      leave(receipt)
    end

    -- Drops the oldest dead letters over the limit of number or age (some in each turn, where a limit was lowered), and with
    -- each its error, unless a later one has replaced that.
    local burials = 50 + #dead
    local function bury(kept, since)
      while burials > 0 do
        local oldest = call('LINDEX', DEAD, -1)
        if not oldest then break end
        local at = tonumber(string.match(oldest, '^%d+')) or 0
        if call('LLEN', DEAD) <= kept and at >= since then break end
        burials = burials - 1
        local header, raw = string.match(call('RPOP', DEAD), '^%d+ ([^\n]*)\n(.*)$')
        local read, about = pcall(cjson.decode, header or '')
        local id = read and type(about) == 'table' and about.id or raw
        if id and call('HGET', ERRORS, id) == header then call('HDEL', ERRORS, id) end
      end
    end

    for _, retry in ipairs(retries) do
      local raw = call('HGET', INFLIGHT, retry.receipt)
      if raw then
        local attempts, deliveries = string.match(retry.past, '^(%d+):(%d+)$')
        local member = turn.epoch .. ':' .. retry.receipt .. '|' .. attempts .. '|' .. deliveries .. '|' .. raw
        call('ZADD', DELAYED, s.now + retry.delayMs, member)
        leave(retry.receipt)
        tally(STATS, 'retried', 1)
      end
    end

    local limits = #dead > 0 and call('HMGET', WORKER, 'deadMax', 'deadMaxAge')
    for _, letter in ipairs(dead) do
      local raw = call('HGET', INFLIGHT, letter.receipt)
      if raw then
        local id, header = bytes(letter.id), bytes(letter.header)
        call('LPUSH', DEAD, s.now_text .. ' ' .. header .. '\n' .. raw)
        if id then
          call('HSET', ERRORS, id, header)
          if s.with_marks then call('ZREM', CANCELLED, id) end
        end
        local max_age = tonumber(limits[2])
        bury(tonumber(limits[1]) or 10000, max_age and s.now - max_age or 0)
        if max_age then call('ZADD', EXPIRY, s.now + max_age, 'd' .. s.now_text) end
        leave(letter.receipt)
        tally(STATS, 'failed', 1)
      end
    end

    -- newest first, so that the oldest ends up outermost and is taken first again
    for i = #released, 1, -1 do
      local receipt = released[i]
      local raw = call('HGET', INFLIGHT, receipt)
      if raw then hand_back(receipt, raw) end
    end

    -- how long a waiting client can be told that a task was cancelled, ms
    local kept = 24 * 3600 * 1000
    for _, entry in ipairs(cancelled) do
      local raw, id = call('HGET', INFLIGHT, entry.receipt), bytes(entry.id)
      if raw and call('ZREM', CANCELLED, id) == 0 then
        hand_back(entry.receipt, raw)
      elseif raw then
        if s.no_hash or call('HEXISTS', RESULT, id) == 0 then
          local header = bytes(entry.header)
          call('HSET', ERRORS, id, header)
          call('ZADD', EXPIRY, s.now + kept, 'e' .. fingerprint(header) .. '|' .. id)
        end
        tally(STATS, 'cancelled', 1)
        leave(entry.receipt)
      end
    end
  end

  -- What fell due goes to the back of the queue, as new arrivals do: up to 100 tasks, and up to the one that reaches 1 MiB.
  local function promote()
    local due_at, promoted, room = s.due_at, 0, 1024 * 1024
    while due_at and due_at <= s.now and promoted < 100 and room > 0 do
      local members = call('ZRANGEBYSCORE', DELAYED, '-inf', s.now, 'LIMIT', 0, step(promoted))
      -- removed first: Redis allows that when memory is short, and then the rest of the script too
      call('ZREMRANGEBYRANK', DELAYED, 0, #members - 1)
      for _, member in ipairs(members) do
        local attempts, deliveries, at = string.match(member, '^[^|]*|(%d+)|(%d+)|()')
        -- what something else put there is a task as it is: an error here would lose it and those that fell due with it
        if not at then attempts, deliveries, at = '0', '0', 1 end
        local raw = string.sub(member, at)
        call('LPUSH', QUEUE, raw)
        if attempts ~= '0' or deliveries ~= '0' then
          remember(raw, attempts .. ':' .. deliveries)
          s.remembered = true
        end
        room = room - #member
        saw(#member)
      end
      promoted = promoted + #members
      s.arrived = s.arrived + #members
      due_at = tonumber(call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2])
    end
    s.due_at = due_at
  end

  -- What a turn took whose reply was lost.
  local function take_again()
    for counter = turn.seen + 1, s.seq do
      local receipt = prefix .. string.format('%.0f', counter)
      local raw = call('HGET', INFLIGHT, receipt)
      if raw then
        s.tasks[#s.tasks + 1] = raw
        local past = call('HGET', CARRIED, receipt)
        if past then s.pasts[#s.pasts + 1] = #s.tasks; s.pasts[#s.pasts + 1] = past end
      end
    end
  end

  -- Takes tasks, `woken` first, where some may have a past. Returns them and the past of each that has one, by index.
  local function take_wary(woken)
    local holding = call('HLEN', INFLIGHT)
    local elsewhere, together = turn.elsewhere or 0, turn.together or 1
    -- a worker empties itself for as long as suspects have waited, and for so long anyway, ms
    local patience = 5000
    if holding == 0 then s.alone = false end

    -- what something else wrote in place of a past counts as none
    local function sound(past) return past and string.find(past .. ':', '^%d+:%d+:') and past or nil end

    -- the past that a task of these bytes has, which is then its own and no longer kept for others; nil when it has none
    local function recall(raw)
      local name = digest(raw)
      local below, count, past = string.match(call('HGET', PASTS, name) or '', '^(%d+):(%d+):(.*)$')
      if past then
        if count ~= '1' then
          call('HSET', PASTS, name, below .. ':' .. count - 1 .. ':' .. past)
        elseif below == '0' then
          call('HDEL', PASTS, name)
        else
          local field = below .. '|' .. name
          local under = call('HGET', PASTS, field)
          call('HDEL', PASTS, field)
          if under then call('HSET', PASTS, name, below - 1 .. ':' .. under) else call('HDEL', PASTS, name) end
        end
        return sound(past)
      end
      local few = call('HGET', HISTORY, name)
      if not few then return nil end
      local rest, last = string.match(few, '^(.*),([^,]*)$')
      if rest then call('HSET', HISTORY, name, rest) else call('HDEL', HISTORY, name) end
      return sound(last or few)
    end

    local function suspect(past) return past and not string.find(past, '^%d+:0') end

    -- whether this worker has to take nothing more: it holds suspects, or empties itself for some that wait
    local function keeps_apart()
      if holding > 0 and s.alone then return true end
      local mine = call('GET', ISOLATOR) == turn.worker
      local idle = holding == 0 and elsewhere == 0
      if idle or s.drain or s.paused or string.find(turn.state, '^drain') or call('LLEN', SUSPECTS) == 0 then
        call('ZREM', EMPTYING, turn.worker)
        -- who is empty keeps the role while it takes one after the other
        if mine and not idle then call('DEL', ISOLATOR) end
        return false
      end
      -- each says when it will be empty; whoever takes nothing more is held to its word, the others speak of now
      local empty_at = mine and tonumber(call('ZMSCORE', EMPTYING, turn.worker)[1]) or 0
      if empty_at <= s.now then
        empty_at = s.now + (turn.emptyIn or 0)
        call('ZADD', EMPTYING, empty_at, turn.worker)
      end
      call('EXPIRE', EMPTYING, 60)
      local silent = call('ZRANGEBYSCORE', EMPTYING, '-inf', s.now - 2000, 'LIMIT', 0, 2000)
      if #silent > 0 then call('ZREM', EMPTYING, unpack(silent)) end
      local waited = s.now - (tonumber(call('HGET', STATS, 'asideSince')) or s.now)
      local first_empty = call('ZRANGE', EMPTYING, 0, 0)[1] == turn.worker
      if not first_empty or empty_at - s.now > math.max(patience, waited) then
        if mine then call('DEL', ISOLATOR) end
        return false
      end
      call('SET', ISOLATOR, turn.worker, 'PX', patience)
      return true
    end

    -- how many suspects may be in flight together with one of this past
    local max_deliveries = tonumber(call('HGET', WORKER, 'maxDeliveries')) or 5
    local function fellows(past)
      local deliveries, company = string.match(past, '^%d+:(%d+):?[^:]*:?(%d*)')
      if tonumber(deliveries) >= max_deliveries - 1 then return 1 end
      local half = math.floor((tonumber(company) or 1) / 2)
      return half < 3 and 1 or half
    end

    -- those that only go alone are counted: each of them needs a whole worker for itself
    local function put_aside(raw, past)
      if call('LPUSH', SUSPECTS, past .. '|' .. raw) == 1 then
        call('HSET', STATS, 'asideSince', s.now_text, 'asideAlone', 0)
      end
      if fellows(past) == 1 then tally(STATS, 'asideAlone', 1) end
    end

    -- the next suspect that was put aside, if any: its bytes and its past
    local function from_aside()
      local entry = call('RPOP', SUSPECTS)
      if not entry then return nil end
      local past, raw = string.match(entry, '^([^|]*)|(.*)$')
      -- what something else put there is a task as it is, and runs alone
      if not sound(past) then return entry, '0:0' end
      return raw, past
    end

    local function from_queue()
      local raw = call('RPOP', QUEUE)
      if raw then return raw, recall(raw) end
    end

    local function back_to_queue(raw, past)
      if past then remember(raw, past) end
      call('RPUSH', QUEUE, raw)
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

    -- takes suspects from those that were put aside, the first of which is in hand, and fellows of theirs that were not met yet
    local function gather_aside(raw, past, more)
      s.alone = true
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
        call('RPUSH', SUSPECTS, its .. '|' .. other)
      end)
      if call('EXISTS', SUSPECTS) == 0 then
        call('DEL', EMPTYING)
        call('HDEL', STATS, 'asideAlone', 'asideSince')
      else
        if gone ~= 0 then tally(STATS, 'asideAlone', -gone) end
        call('HSET', STATS, 'asideSince', s.now_text)
      end
    end

    -- looks at up to `more` tasks one by one, `woken` first, which may be suspects: who may take them?
    local function sift(more, empty)
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
          s.alone = true
          gather(raw, past, more, following, back_to_queue)
          break
        else
          put_aside(raw, past)
          room = room - #raw
        end
      end
      for i = #woken, at, -1 do call('RPUSH', QUEUE, woken[i]) end
    end

    s.apart = keeps_apart()
    local more = s.apart and 0 or math.max(0, s.want - #s.tasks)
    local empty = holding == 0 and elsewhere == 0 and together > 0 and more > 0
    local raw, past
    if empty then raw, past = from_aside() end
    while #woken > (raw and 0 or more) do call('RPUSH', QUEUE, table.remove(woken)) end
    if raw then gather_aside(raw, past, more) else sift(more, empty) end
    if not s.apart then
      holding = holding + #fresh
      s.apart = keeps_apart()
    end
    s.aside = call('LLEN', SUSPECTS)
    return fresh, past_of
  end

  s.rare = {
    renew = renew,
    refuse = refuse,
    expire_results = expire_results,
    settle_others = settle_others,
    promote = promote,
    take_again = take_again,
    take_wary = take_wary,
  }
  return s.rare
end

-- Takes the tasks that have results out of those in flight. Under load that comes last, so that the hash of those is never
-- empty: one that begins anew is a list at first, in which each new field is looked for from end to end.
local function drop_results()
  if s.dropped then return end
  s.dropped = true
  s.left = s.left + slices('HDEL', INFLIGHT, turn.receipts)
  if s.with_carried then slices('HDEL', CARRIED, turn.receipts) end
end

-- Settles what finished. Returns why Redis refuses the first of all writes (wrong type, no memory), which leaves everything as
-- it was; nothing else.
local function settle()
  local completed, ended = #turn.receipts, #turn.receipts + #retries + #dead
  if ended > 0 then
    local sums = redis.pcall('HMGET', STATS, 'completed', 'serviceUs', 'squaredTasks', 'squaresS2')
    if sums.err then return sums.err end
    local results = turn.results
    if completed > 0 then
      if #ARGV > 1 then
        for i = 1, #results do results[i] = bytes(results[i]) end
      end
      if not turn.stored then
        local to = math.min(2000, #results)
        local first = redis.pcall('HSET', RESULT, unpack(results, 1, to))
        if type(first) == 'table' then return first.err end
        if to < #results then slices('HSET', RESULT, results, to + 1) end
      end
    end
    -- whole up to 2^53; squares in s², as a float, because long tasks would take them over that
    local fields = {'completed', string.format('%.0f', sum_of(sums[1], 2 ^ 53) + completed),
      'serviceUs', string.format('%.0f', sum_of(sums[2], 2 ^ 53) + turn.serviceUs)}
    if turn.squaresMs2 then
      fields[5], fields[6] = 'squaredTasks', string.format('%.0f', sum_of(sums[3], 2 ^ 53) + ended)
      fields[7], fields[8] = 'squaresS2', string.format('%.17g', sum_of(sums[4], math.huge) + turn.squaresMs2 / 1e6)
    end
    local first = redis.pcall('HSET', STATS, unpack(fields))
    if type(first) == 'table' then return first.err end
    for _, bucket in ipairs(turn.slow or none) do tally(STATS, 'slow' .. bucket, 1) end
    if completed > 0 then
      if sum_of(s.worker[11], 2 ^ 53) > 0 and not turn.stored then rare().expire_results() end
      if s.with_marks then
        for i = 1, #results, 2 do call('ZREM', CANCELLED, results[i]) end
      end
      if s.errors ~= 0 and type(s.errors) == 'number' then
        for i = 1, #results, 2 do call('HDEL', ERRORS, results[i]) end
      end
    end
  end
  if completed < s.settled then rare().settle_others() end
end

-- Takes up to `more` tasks, `woken` first, none of which has a past. Most tasks come this way: no calls for each of them.
local function take_plain(woken, more)
  local fresh, count, left = woken, #woken, ROOM
  for i = 1, count do
    left = left - #fresh[i]
    saw(#fresh[i])
  end
  while count < more and left > 0 do
    local popped = call('RPOP', QUEUE, math.min(step(count), more - count))
    if not popped then break end
    local size, there = 0, #popped
    for i = 1, there do
      local raw = popped[i]
      size = size + #raw
      fresh[count + i] = raw
    end
    if size > LARGE then
      local i = 0
      repeat
        i = i + 1
        left = left - #popped[i]
        saw(#popped[i])
      until i == there or left <= 0
      for over = there, i + 1, -1 do
        call('RPUSH', QUEUE, popped[over])
        fresh[count + over] = nil
      end
      count = count + i
    else
      left, count = left - size, count + there
    end
  end
  return fresh
end

-- Puts the tasks that were taken in flight, each under a receipt.
local function give_receipts(fresh, past_of)
  local digits = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}
  local fields, n, add, seq = {}, 0, #s.tasks, s.seq
  if add == 0 then s.tasks = fresh else for i = 1, #fresh do s.tasks[add + i] = fresh[i] end end
  -- numbers become text by way of floating point, which costs more than the rest here: once for ten receipts
  local low = seq % 10
  local function tens(of) return prefix .. (of > 9 and string.format('%.0f', (of - of % 10) / 10) or '') end
  local begins = tens(seq)
  for i = 1, #fresh do
    low = low + 1
    if low == 10 then
      low, begins = 0, tens(seq + i)
    end
    fields[n + 1] = begins .. digits[low]
    n = n + 2
    fields[n] = fresh[i]
  end
  seq = seq + #fresh
  if past_of then
    for i = 1, #fresh do
      local past = past_of[i]
      if past then
        call('HSET', CARRIED, fields[2 * i - 1], past)
        s.pasts[#s.pasts + 1] = add + i
        s.pasts[#s.pasts + 1] = past
      end
    end
  end
  s.seq = seq
  -- Redis keeps a small hash as a list, in which each field is looked for from end to end: a long value makes it a table for good
  local grows = #fresh >= 32 and s.in_hand < 32
  if grows then call('HSET', INFLIGHT, '', string.rep(' ', 65)) end
  slices('HSET', INFLIGHT, fields)
  if grows then call('HDEL', INFLIGHT, '') end
  tally(STATS, 'taken', #fresh)
end

local function take()
  if s.no_list then return end
  -- a blocking move may have put a task aside (two, when a connection was replaced while its move was blocked); what
  -- is not wanted any more goes back to where it came from, the oldest outermost
  local woken = redis.pcall('RPOP', WAKE, 100) or {}
  if woken.err then
    take_nothing(misfit(woken, WAKE))
    woken = {}
  end
  s.arrived = s.arrived + #woken
  local wary = s.with_carried or s.remembered
    or s.seldom and call('EXISTS', HISTORY, PASTS, SUSPECTS) > 0
  if wary then
    local unfit = misfit(redis.pcall('STRLEN', ISOLATOR), ISOLATOR) or misfit(redis.pcall('ZCARD', EMPTYING), EMPTYING)
      or misfit(redis.pcall('HLEN', APART), APART)
    if unfit then take_nothing(unfit) end
  end
  local fresh, past_of
  if wary and not s.broken then
    drop_results()
    fresh, past_of = rare().take_wary(woken)
  else
    local more = math.max(0, s.want - #s.tasks)
    while #woken > more do call('RPUSH', QUEUE, table.remove(woken)) end
    fresh = take_plain(woken, more)
  end
  s.taken = #fresh
  if #fresh > 0 then give_receipts(fresh, past_of) end
  s.length = past_of and call('LLEN', QUEUE) or s.length + s.arrived - #fresh
end

-- Notes the turn in the worker's hash: what changes with each, and what has changed.
local function note()
  -- a turn that is repeated is the one that it was, unless it took more
  s.made = s.repeated and s.seq == s.known and s.worker[5] or s.now_text
  local noted = {'turn', turn.number, 'at', s.made, 'before', s.answered, 'seq', s.seq}
  local function change(field, value, before)
    if value ~= before then noted[#noted + 1], noted[#noted + 2] = field, value end
  end
  local worker, elsewhere = s.worker, turn.elsewhere or 0
  change('state', turn.state, worker[9])
  change('form', s.form, tonumber(worker[7]))
  change('settled', s.settled, tonumber(worker[8]))
  change('elsewhere', elsewhere, tonumber(worker[13]) or 0)
  if s.last_large > 0 then change('large', s.last_large, tonumber(worker[14])) end
  change('alone', s.alone and '1' or '0', worker[12] or '0')
  if s.renews then
    change('till', rare().renew())
    change('renewed', s.now_text)
  end
  call('HSET', WORKER, unpack(noted))
  if s.alone and worker[12] ~= '1' then
    call('HSET', APART, turn.worker, 1)
  elseif not s.alone and worker[12] == '1' then
    call('HDEL', APART, turn.worker)
  end
  local holds = s.in_hand - s.left + s.taken
  if holds ~= s.in_hand then redis.pcall('HSET', LOAD, turn.worker, holds) end
end

local fenced = admit()
if fenced then return fenced end
local unfit = look()
if unfit then return rare().refuse(unfit) end
if not s.repeated then
  local refused = settle()
  if refused then return rare().refuse(refused) end
end
local soonest = redis.pcall('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
if soonest.err then take_nothing(misfit(soonest, DELAYED)) end
s.due_at = tonumber(soonest[2])
if s.due_at and s.due_at <= s.now and not s.broken then rare().promote() end
s.tasks, s.pasts = {}, {}
if turn.seen < s.seq then rare().take_again() end
take()
drop_results()
note()
-- what is due and was too much for this turn wants another one at once
local next_in = s.due_at and not s.broken and math.max(0, s.due_at - s.now) or -1
local marks = s.with_marks and math.max(1, sum_of(call('HGET', STATS, 'marks'), 2 ^ 53)) or 0
local made = s.made == s.now_text and s.now or tonumber(s.made)
return {1, s.now, s.broken or s.length, s.drain and 1 or s.paused and 2 or 0, turn.seen + 1, s.tasks, s.pasts, next_in, marks,
  s.apart and 1 or 0, made, s.aside or 0, s.form}
