-- the keys of unique tasks, in turns that settle some
local function uniques()
  s.uniques = s.uniques or uniques_of(string.sub(STATS, 1, -6))
  return s.uniques
end

-- What few turns need. Lua creates each function anew in every turn, at a cost that grows with the locals that it uses, so these
-- are created when the first of them is needed.
local function rare()
  if s.rare then return s.rare end

  local pasts = pasts_of(HISTORY, PASTS)
  local remember = pasts.remember

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
      if not (s.limited and limits().hold_first(raw, past)) then
        if past then remember(raw, past) end
        s.remembered = s.remembered or past
        call('RPUSH', QUEUE, raw)
        s.arrived = s.arrived + 1
      end
      tally(STATS, 'taken', -1)
      leave(receipt)
    end

    -- Drops the oldest dead letters over the limit of number or age, and with each its error, unless a later one has replaced that.
    -- Where a limit was lowered, some in each turn: one for each that is added, and others up to the one that fills 4 MiB.
    local burials, room, given_up = 50 + #dead, 4 * 1024 * 1024, {}
    local function bury(kept, since)
      local first = true
      while first or (burials > 0 and room > 0) do
        local oldest = call('LINDEX', DEAD, -1)
        if not oldest then break end
        local at = tonumber(string.match(oldest, '^%d+')) or 0
        if call('LLEN', DEAD) <= kept and at >= since then break end
        burials, room, first = burials - 1, room - #oldest, false
        call('RPOP', DEAD)
        local header, raw = string.match(oldest, '^%d+ ([^\n]*)\n(.*)$')
        local read, about = pcall(cjson.decode, header or '')
        -- what something else has written there may be anything
        if not read or type(about) ~= 'table' then about = {} end
        local id = type(about.id) == 'string' and about.id or raw
        if id and call('HGET', ERRORS, id) == header then call('HDEL', ERRORS, id) end
        if type(about.batch) == 'string' then given_up[#given_up + 1] = {batch = about.batch, part = id} end
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
        letter.buried = true
        local holder = id or letter.uniqueId and bytes(letter.uniqueId)
        if letter.unique and holder then uniques().free(letter.unique, holder, letter.receipt) end
        tally(STATS, letter.expired and 'expired' or 'failed', 1)
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
      local unmarked = raw and not entry.duplicate and call('ZREM', CANCELLED, id) == 0
      if unmarked and not (entry.batch and parts().is_stopped(entry.batch)) then
        hand_back(entry.receipt, raw)
      elseif raw then
        local header = bytes(entry.header)
        if header ~= '' and (s.no_hash or call('HEXISTS', RESULT, id) == 0) then
          call('HSET', ERRORS, id, header)
          call('ZADD', EXPIRY, s.now + kept, 'e' .. fingerprint(header) .. '|' .. id)
        end
        tally(STATS, entry.duplicate and 'duplicates' or 'cancelled', 1)
        leave(entry.receipt)
        entry.gone = header ~= ''
        if entry.unique then uniques().free(entry.unique, id, entry.receipt) end
      end
    end

    -- once the parts of this turn are counted
    s.given_up = #given_up > 0 and given_up or nil
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

  s.rare = {
    pasts = pasts,
    renew = renew,
    refuse = refuse,
    expire_results = expire_results,
    settle_others = settle_others,
    promote = promote,
    take_again = take_again,
  }
  return s.rare
end
