-- What a turn reads before it writes anything.

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

-- Checks the keys of the queue. A key of another type is never touched: with a wrong queue, results still go out, but nothing
-- is taken or handed back; with a wrong result, nothing is taken, because it could not be answered. Returns why outcomes of this
-- turn cannot be written, so that none of them is written then; nothing where all can.
local function check_keys()
  local length, size = redis.pcall('LLEN', QUEUE), redis.pcall('HLEN', RESULT)
  local no_list, no_hash = misfit(length, QUEUE), misfit(size, RESULT)
  s.length, s.no_list, s.no_hash, s.broken = length, no_list, no_hash, no_list or no_hash
  -- what is seldom there is asked for in one command, and each by itself only if one is
  local seldom = call('EXISTS', PAUSED, CARRIED, CANCELLED, HISTORY, PASTS, SUSPECTS, LIMITS) > 0
  if seldom then
    s.seldom = true
    s.paused = call('EXISTS', PAUSED) == 1
    local carried, marks = redis.pcall('HLEN', CARRIED), redis.pcall('ZCARD', CANCELLED)
    local unfit = misfit(carried, CARRIED) or misfit(marks, CANCELLED) or misfit(redis.pcall('HLEN', HISTORY), HISTORY)
      or misfit(redis.pcall('HLEN', PASTS), PASTS) or misfit(redis.pcall('LLEN', SUSPECTS), SUSPECTS)
    if unfit then return unfit end
    s.with_carried, s.with_marks = carried > 0, marks > 0
    if call('EXISTS', LIMITS) == 1 then
      unfit = limits().check()
      if unfit then return unfit end
      s.limited = 1
    end
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
  if completed == s.settled and not turn.parts and not turn.spawned then return completed > 0 and no_hash end
  return (#released + #cancelled > 0 or turn.parts or turn.spawned) and no_list or completed > 0 and no_hash
    or #retries > 0 and misfit(redis.pcall('ZCARD', DELAYED), DELAYED)
    or (#dead > 0 or turn.parts) and misfit(redis.pcall('LLEN', DEAD), DEAD)
    or #dead + #cancelled > 0 and misfit(s.errors, ERRORS)
end
