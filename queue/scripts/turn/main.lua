-- What every turn does, and at the end the turn itself.

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
    if sums.err then return misfit(sums, STATS) end
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
      for _, letter in ipairs(dead) do
        if letter.expired then ended = ended - 1 end
      end
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
  if s.limited and turn.unbegun then limits().note_unbegun() end
  if completed < s.settled then rare().settle_others() end
  for _, had in ipairs(turn.unique or none) do uniques().free(had.key, bytes(had.id), had.receipt) end
  if s.limited and s.settled > 0 then limits().free() end
  if turn.spawned then parts().spawn() end
  if turn.parts or s.given_up then parts().count() end
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
  s.packs = count >= PACKED and left >= ROOM - PACKED_BYTES
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
  if s.limited then limits().hold(fields) end
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
  local wary = s.limited or s.with_carried or s.remembered
    or s.seldom and call('EXISTS', HISTORY, PASTS, SUSPECTS) > 0
  if wary then
    local unfit = misfit(redis.pcall('GETRANGE', ISOLATOR, 0, 0), ISOLATOR) or misfit(redis.pcall('ZCARD', EMPTYING), EMPTYING)
      or misfit(redis.pcall('HLEN', APART), APART)
    if unfit then take_nothing(unfit) end
  end
  local fresh, past_of
  if wary and not s.broken then
    drop_results()
    fresh, past_of = take_wary(woken)
  else
    local more = math.max(0, s.want - #s.tasks)
    while #woken > more do call('RPUSH', QUEUE, table.remove(woken)) end
    fresh = take_plain(woken, more)
  end
  s.taken = #fresh
  if #fresh > 0 then give_receipts(fresh, past_of) end
  s.length = past_of and call('LLEN', QUEUE) or s.length + s.arrived - #fresh
  if s.limited and past_of then limits().close(#fresh) end
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
local unfit = (turn.parts or turn.spawned) and not s.repeated and parts().check() or check_keys()
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
local next_in = s.due_at and not s.broken and math.max(0, s.due_at - s.now) or s.back_in or -1
if s.back_in then next_in = math.min(next_in, s.back_in) end
local marks = s.with_marks and math.max(1, sum_of(call('HGET', STATS, 'marks'), 2 ^ 53)) or 0
if turn.unseen then
  for i = 1, #s.tasks do s.tasks[i] = '' end
end
local packed = s.packs and not turn.unseen and #s.tasks == s.taken
local made = s.made == s.now_text and s.now or tonumber(s.made)
return {1, s.now, s.broken or s.length, s.drain and 1 or s.paused and 2 or 0, turn.seen + 1,
  packed and cmsgpack.pack(s.tasks) or s.tasks, s.pasts, next_in, marks,
  s.apart and 1 or 0, made, s.aside or 0, s.form, s.limited or s.reports and 0, s.reports}
