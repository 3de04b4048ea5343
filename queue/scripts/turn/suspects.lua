-- A suspect is a task that was in flight in a worker which was lost. Suspects are never in flight beside others, and are
-- narrowed down by halves: at most half of those that were lost together are taken together, by a worker that holds nothing,
-- so that one more loss clears the other half. One that the next loss may condemn is taken alone. A worker that holds
-- something puts the suspects that it meets aside. While some wait there, the one that says that it will be empty first (the
-- isolator) takes nothing more until it is, unless that would take longer than they have waited. What is put aside carries
-- its past along; a worker that is the last one to go, or the controller, brings it back (rejoin.lua).
--
-- Takes tasks, `woken` first, where some may have a past. Returns them and the past of each that has one, by index.
local function take_wary(woken)
  local pasts = rare().pasts
  local remember, recall, sound = pasts.remember, pasts.recall, pasts.sound
  local holding = call('HLEN', INFLIGHT)
  -- of a queue with limits: only what may begin now is given out
  local L = s.limited and limits()
  local open = L and L.open()
  local with_pasts = not L or s.remembered or call('EXISTS', HISTORY, PASTS) > 0
  local elsewhere, together = turn.elsewhere or 0, turn.together or 1
  -- a worker empties itself for as long as suspects have waited, and for so long anyway, ms
  local patience = 5000
  if holding == 0 then s.alone = false end

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
    -- the clock was set back: by as much they would wait longer
    if waited < 0 then call('HSET', STATS, 'asideSince', s.now_text) end
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

  local fresh, past_of, room, gone_aside = {}, {}, ROOM, false

  -- Whether a task that was taken off a list may begin. One that waits for its key is held, which costs as much as to take it.
  local function admits(raw, past)
    if not L or L.admits(raw, past) then return true end
    room = room - #raw - L.COST
    return false
  end

  -- the next suspect that was put aside, if any: its bytes and its past
  local function from_aside()
    while room > 0 do
      local entry = call('RPOP', SUSPECTS)
      if not entry then return nil end
      local past, raw = string.match(entry, '^([^|]*)|(.*)$')
      -- what something else put there is a task as it is, and runs alone
      if not sound(past) then raw, past = entry, '0:0' end
      if admits(raw, past) then return raw, past end
      gone_aside = true
      if fellows(past) == 1 then tally(STATS, 'asideAlone', -1) end
    end
  end

  local function from_queue()
    while room > 0 do
      local raw = call('RPOP', QUEUE)
      if not raw then return nil end
      local past = with_pasts and recall(raw) or nil
      if admits(raw, past) then return raw, past end
    end
  end

  local function back_to_queue(raw, past)
    if L and L.give_back(raw, past) then return end
    if past then remember(raw, past) end
    call('RPUSH', QUEUE, raw)
  end

  local function keep(raw, past)
    fresh[#fresh + 1] = raw
    past_of[#fresh] = past
    if L then L.acquire(#fresh) end
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
      if L then
        local raw, past = L.next_held()
        if raw then return raw, past end
      end
      while woken[at] do
        local raw = woken[at]
        at = at + 1
        local past = with_pasts and recall(raw) or nil
        if admits(raw, past) then return raw, past end
      end
      return from_queue()
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
  if L then more = math.min(more, open) end
  local empty = holding == 0 and elsewhere == 0 and together > 0 and more > 0
  local raw, past
  if empty then raw, past = from_aside() end
  while #woken > (raw and 0 or more) do call('RPUSH', QUEUE, table.remove(woken)) end
  if raw then gather_aside(raw, past, more) else sift(more, empty) end
  -- the last of them may wait for their key now
  if gone_aside and call('EXISTS', SUSPECTS) == 0 then
    call('DEL', EMPTYING)
    call('HDEL', STATS, 'asideAlone', 'asideSince')
  end
  if not s.apart then
    holding = holding + #fresh
    s.apart = keeps_apart()
  end
  s.aside = call('LLEN', SUSPECTS)
  return fresh, past_of
end
