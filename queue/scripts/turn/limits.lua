-- The limits of a queue in a turn: how many tasks may begin now, and of which keys. Created in turns of queues that have limits.
--
-- A task that may not begin for the queue's own limits stays in the queue, and one that may not for those of its key is held beside it
-- (limits/slots.lua) and lets those of other keys pass. What is held goes first when its key may go on. Workers that could take more
-- are told when to come back, one for each task that will be allowed.
local function limits_of_turn()
  local base = string.sub(STATS, 1, -6)
  local slots = slots_of(base)
  local limits = slots.read_limits(LIMITS)
  local t, offset, known = slots.limit_time(s.now)
  local SLOTS, RUNNING, HELD, DUE, STATE = slots.SLOTS, slots.RUNNING, slots.HELD, slots.DUE, slots.STATE
  -- no worker comes back more often than this to a queue with a high rate; none is told a time that is further away, ms
  local SHORTEST, LONGEST = 5, 1000
  local CHECK_MS, CHECKED = 1000, 500
  -- tasks of a turn that may be held
  local COST = 4096
  local state, held, room, closed, pending, popped, told_due
  -- keys that were met, and those of the tasks that were taken, by index
  local met, key_at = {}, {}

  local function check_keys_of_limits()
    for key, size in pairs({[LIMITS] = 'HLEN', [STATE] = 'HLEN', [SLOTS] = 'HLEN', [RUNNING] = 'HLEN', [HELD] = 'ZCARD', [DUE] = 'ZCARD'}) do
      local unfit = misfit(redis.pcall(size, key), key)
      if unfit then return unfit end
    end
  end

  -- What a bucket is set to that is beyond a full one of this rate, because it is of an earlier rate, or no time; else nothing.
  local function overfull(tat, interval, burst)
    local at, full = tonumber(tat), t + burst * interval
    return at and not (at <= full) and full or nil
  end

  -- what of a key counts, as far as this turn knows
  local function about(key)
    local k = met[key]
    if k then return k end
    k = {key = key}
    if limits.key_concurrency then k.running = slots.number_of(call('HGET', RUNNING, key)) end
    if limits.key_interval then
      local tat = redis.pcall('GET', base .. 'limit-rate:' .. key)
      k.tat = type(tat) == 'string' and tat or nil
      local full = k.tat and overfull(k.tat, limits.key_interval, limits.key_burst)
      if full then
        k.tat = full
        call('SET', base .. 'limit-rate:' .. key, string.format('%.17g', full), 'PX', math.ceil(full - t) + 1)
      end
    end
    -- something else is where its tasks would be held: an error after they were taken would lose them, so nothing limits them
    local listed, counted = redis.pcall('LLEN', base .. 'held-tasks:' .. key), slots.number_of(call('ZSCORE', HELD, key))
    k.unfit = type(listed) ~= 'number'
    k.held = k.unfit and counted or listed
    -- something else has written one of them: what is there counts
    if k.held ~= counted then
      held = math.max(0, held + k.held - counted)
      if k.held > 0 then
        call('ZADD', HELD, k.held, key)
        call('ZADD', DUE, t, key)
      end
    end
    met[key] = k
    return k
  end

  -- Whether a task of this key may begin now; if only time is in the way, when.
  local function may_begin(k)
    if limits.key_concurrency and k.running >= limits.key_concurrency then return false end
    if not limits.key_interval then return true end
    local some, next_at = slots.allowance(k.tat, limits.key_interval, limits.key_burst, t)
    if some > 0 then return true end
    return false, next_at
  end

  -- A time that no worker was told yet may be before those that some were.
  local function sooner(at)
    if at <= told_due then told_due = at - 0.001 end
  end

  -- When held tasks of this key are tried next.
  local function schedule(k)
    local may, at = may_begin(k)
    if k.held <= 0 then
      call('ZREM', HELD, k.key)
      call('ZREM', DUE, k.key)
    elseif may or at then
      call('ZADD', DUE, may and t or at, k.key)
      if at then sooner(at) end
    else
      call('ZREM', DUE, k.key)
    end
  end

  local function count_held(k, by)
    k.held, held = k.held + by, held + by
    if k.held > 0 then call('ZADD', HELD, k.held, k.key) end
  end

  -- Slots of tasks that are in flight no more, because an earlier version or something else has removed them, are free again.
  local function check_slots()
    local few = call('HLEN', SLOTS) <= CHECKED
    local scan = call('HSCAN', SLOTS, few and '0' or string.match(state[6] or '', '^%d+$') or '0', 'COUNT', CHECKED)
    local stale, counts = {}, {}
    for i = 1, #scan[2], 2 do
      local name, key = scan[2][i], scan[2][i + 1]
      local receipt, worker = string.match(name, '^([^|]*)|(.*)$')
      if not receipt or redis.pcall('HEXISTS', base .. 'inflight:' .. worker, receipt) ~= 1 then stale[#stale + 1] = name
      else counts[key] = (counts[key] or 0) + 1 end
    end
    slots.free(stale, t)
    if few then
      -- all were seen: what is counted may be set right
      for _, key in ipairs(call('HKEYS', RUNNING)) do
        if tonumber(call('HGET', RUNNING, key)) ~= counts[key] then
          if counts[key] then call('HSET', RUNNING, key, counts[key]) else call('HDEL', RUNNING, key) end
          slots.ready(key, t)
        end
      end
    end
    call('HSET', STATE, 'checked', t, 'cursor', scan[1])
  end

  -- Before tasks are taken. Returns how many may be, for the limits of the queue.
  local function open()
    state = call('HMGET', STATE, 'tat', 'held', 'woken', 'wokenDue', 'checked', 'cursor')
    held, told_due = slots.number_of(state[2]), slots.number_of(state[4])
    -- the number is lost with the state, and there is one task of a key at least
    local waiting = call('ZCARD', HELD)
    held = waiting > 0 and math.max(held, waiting) or 0
    -- after a loss of the state, times mean nothing
    if waiting > 0 and not known then slots.ready_all(t) end
    if waiting > 0 and math.abs(t - (tonumber(state[5]) or 0)) >= CHECK_MS then check_slots() end
    room = math.huge
    local full = limits.interval and overfull(state[1], limits.interval, limits.burst)
    if full then
      state[1] = full
      call('HSET', STATE, 'tat', full)
    end
    if limits.interval then room = slots.allowance(state[1], limits.interval, limits.burst, t) end
    if limits.concurrency then
      local running = s.in_hand - s.left - slots.number_of(redis.pcall('HGET', LOAD, turn.worker))
      for _, of in ipairs(redis.pcall('HVALS', LOAD)) do running = running + slots.number_of(of) end
      room = math.min(room, limits.concurrency - running)
    end
    room = math.max(0, room)
    return room
  end

  -- Whether a task that was taken off the queue may begin. One that may not is held.
  local function admit_or_hold(raw, past)
    pending = nil
    local key = limits.field and slots.task_key(limits.field, raw)
    if not key then return true end
    local k = about(key)
    if k.unfit then return true end
    local may, at = may_begin(k)
    if may and k.held == 0 then
      pending = k
      return true
    end
    call('LPUSH', base .. 'held-tasks:' .. key, (past or '') .. '|' .. raw)
    count_held(k, 1)
    if k.held == 1 and at then
      call('ZADD', DUE, at, key)
      sooner(at)
    end
    return false
  end

  -- The next held task that may begin, and its past: of each key that may go on one after the other.
  local due, looked = {}, 0
  local function next_held()
    if popped then
      schedule(popped)
      popped = nil
    end
    pending = nil
    if held <= 0 then return nil end
    while looked < 1000 do
      if #due == 0 then
        local found = call('ZRANGEBYSCORE', DUE, '-inf', t, 'LIMIT', 0, 100)
        for i = #found, 1, -1 do due[#due + 1] = found[i] end
        if #due == 0 then return nil end
      end
      local k = about(table.remove(due))
      looked = looked + 1
      local entry = not k.unfit and may_begin(k) and call('RPOP', base .. 'held-tasks:' .. k.key)
      if entry then
        count_held(k, -1)
        pending, popped = k, k
        local past, raw = string.match(entry, '^([^|]*)|(.*)$')
        if not past then return entry end
        return raw, past ~= '' and past or nil
      end
      if k.unfit or call('EXISTS', base .. 'held-tasks:' .. k.key) == 0 then count_held(k, -k.held) end
      schedule(k)
    end
  end

  -- The task in hand is not to be taken now. Returns whether it is back where it was held.
  local function give_back(raw, past)
    if not popped then return false end
    call('RPUSH', base .. 'held-tasks:' .. popped.key, (past or '') .. '|' .. raw)
    count_held(popped, 1)
    return true
  end

  -- The task in hand is the one at this index.
  local function acquire(index)
    local k = pending
    if not k then return end
    pending, key_at[index], k.changed = nil, k.key, true
    if k.running then k.running = k.running + 1 end
    if limits.key_interval then
      local _, _, from = slots.allowance(k.tat, limits.key_interval, limits.key_burst, t)
      k.tat = from + limits.key_interval
    end
  end

  -- The tasks are in flight: `fields` are their receipts and bytes.
  local function hold(fields)
    if not limits.key_concurrency then return end
    local names = {}
    for index, key in pairs(key_at) do
      names[#names + 1] = fields[2 * index - 1] .. '|' .. turn.worker
      names[#names + 1] = key
    end
    slices('HSET', SLOTS, names)
  end

  -- When this worker is to come back, if it could take more: the next time that no worker was told.
  local function come_back(taken)
    if turn.want <= taken then return nil end
    local mine, at = tonumber(call('HGET', WORKER, 'back')) or 0, nil
    if closed then
      if not limits.interval then return nil end
      local some, next_at = slots.allowance(state[1], limits.interval, limits.burst, t)
      -- enough time, but too many run
      if some > 0 then return nil end
      local told = tonumber(state[3]) or 0
      if told < t or told > t + LONGEST then told = t end
      at = math.max(next_at, told + math.max(limits.interval, SHORTEST))
      if mine <= t or mine > at then call('HSET', STATE, 'woken', at) end
    elseif held > 0 then
      local after = string.format('(%.17g', math.max(t, told_due))
      at = tonumber(call('ZRANGEBYSCORE', DUE, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
      if at and (mine <= t or mine > at) then told_due = at end
    end
    if mine > t and not (at and at < mine) then return math.ceil(mine - t) end
    if not at or at > t + LONGEST then return nil end
    call('HSET', WORKER, 'back', at)
    return math.max(1, math.ceil(at - t))
  end

  -- After tasks were taken.
  local function close(taken)
    if popped then
      schedule(popped)
      popped = nil
    end
    for key, k in pairs(met) do
      if k.changed then
        if k.running then call('HSET', RUNNING, key, k.running) end
        if limits.key_interval then
          call('SET', base .. 'limit-rate:' .. key, string.format('%.17g', k.tat), 'PX', math.ceil(k.tat - t) + 1)
        end
      end
    end
    if limits.interval and taken > 0 then
      local _, _, from = slots.allowance(state[1], limits.interval, limits.burst, t)
      state[1] = from + taken * limits.interval
      call('HSET', STATE, 'tat', state[1])
    end
    if held ~= tonumber(state[2] or 0) then call('HSET', STATE, 'held', held) end
    local ready = held > 0 and #call('ZRANGEBYSCORE', DUE, '-inf', t, 'LIMIT', 0, 1) > 0
    closed = room <= taken and (s.length > 0 or ready)
    s.back_in = come_back(taken)
    call('HSET', STATE, 'at', t, 'offset', offset, 'wokenDue', told_due)
    s.limited = closed and 2 or ready and 3 or 1
    if held <= 0 and call('HEXISTS', LIMITS, 'removed') == 1 and call('EXISTS', HELD) == 0 then call('DEL', LIMITS, STATE, SLOTS, RUNNING, DUE) end
  end

  -- Of the tasks that the turn settles, those that were not begun: how many in all, and of each key. Called while they are in flight.
  local unbegun
  local function note_unbegun()
    unbegun = {all = 0, of = {}}
    for _, receipt in ipairs(turn.unbegun) do
      local raw = call('HGET', INFLIGHT, receipt)
      local key = raw and limits.key_interval and slots.task_key(limits.field, raw)
      if raw then unbegun.all = unbegun.all + 1 end
      if key then unbegun.of[key] = (unbegun.of[key] or 0) + 1 end
    end
  end

  -- Gives back what these took of the rates.
  local function refund()
    if limits.interval and unbegun.all > 0 then
      local _, _, from = slots.allowance(call('HGET', STATE, 'tat'), limits.interval, limits.burst, t)
      call('HSET', STATE, 'tat', from - unbegun.all * limits.interval)
    end
    for key, count in pairs(unbegun.of) do
      local name = base .. 'limit-rate:' .. key
      local tat = redis.pcall('GET', name)
      if type(tat) == 'string' then
        local _, _, from = slots.allowance(tat, limits.key_interval, limits.key_burst, t)
        local left = from - count * limits.key_interval
        if left > t then call('SET', name, string.format('%.17g', left), 'PX', math.ceil(left - t) + 1) else call('DEL', name) end
        slots.ready(key, t)
      end
    end
  end

  -- What the turn settles has its slots no more.
  local function free_settled()
    if unbegun then refund() end
    local names = {}
    for _, of in ipairs({turn.receipts, released}) do
      for _, receipt in ipairs(of) do names[#names + 1] = receipt .. '|' .. turn.worker end
    end
    for _, of in ipairs({retries, dead, cancelled}) do
      for _, entry in ipairs(of) do names[#names + 1] = entry.receipt .. '|' .. turn.worker end
    end
    slots.free(names, t)
  end

  -- A task that goes back unfinished: see `hold_first`.
  local function put_back(raw, past)
    return slots.hold_first(limits.field and slots.task_key(limits.field, raw), raw, past, t)
  end

  return {COST = COST, check = check_keys_of_limits, open = open, admits = admit_or_hold, next_held = next_held, give_back = give_back, acquire = acquire,
    hold = hold, close = close, note_unbegun = note_unbegun, free = free_settled, hold_first = put_back}
end

local function limits()
  s.limits = s.limits or limits_of_turn()
  return s.limits
end
