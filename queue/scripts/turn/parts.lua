-- Parts of batches among what a turn settles, and the tasks that are added with results. Created in turns that have some.
local function parts_of_turn()
  local base = string.sub(STATS, 1, -6)
  local batches = batches_of(QUEUE, RESULT, base, turn.resultName, s.now_text)

  -- Why a group of parts cannot belong to the batch; nothing if it can. `said`: what other parts of this turn say.
  local function contradiction(group, b, said)
    if not group.size then return nil end
    if b and not b.declared then return 'its parts are added by a client, and this task names a size' end
    local size = b and b.declared or said and said.size
    if size and size ~= group.size then
      return string.format('other parts say that it has %.0f parts, and this one says %.0f', size, group.size)
    end
    local following = b and b['then'] or said and said['then']
    if following and group['then'] and following ~= group['then'] then return 'other parts name another "then" task' end
    local policy = b and b.said or said and said.policy
    if policy and group.policy and policy ~= group.policy then
      return 'other parts say onFailure: ' .. policy .. ', and this one ' .. group.policy
    end
  end

  -- of declared parts, those that the batch has no room for, beside those of this turn that have it already
  local rooms = {}
  local function beyond(b, ids)
    local room = rooms[b.id]
    if not room then
      room = {left = b.over and 0 or batches.count_left(b), none_for = {}}
      rooms[b.id] = room
    end
    for _, id in ipairs(batches.unended(b, ids)) do
      if room.none_for[id] == nil then
        room.none_for[id] = room.left <= 0
        room.left = room.left - 1
      end
    end
    return room.none_for
  end

  -- how many parts of a batch this turn ends, at most
  local function parts_in(group)
    local runs, count = group.results or none, #(group.dead or none) + #(group.cancelled or none)
    for run = 2, #runs, 2 do count = count + runs[run] end
    return count
  end

  -- Why a key of a batch that this turn may write cannot be used; nothing where all can. `b`: the batch, or what it will be.
  local function unfit_key(group, b)
    local left, unfit, name = batches.count_left(b)
    if unfit then return misfit(unfit, name) end
    -- begins it, or may end it
    unfit = (not b.key or left <= parts_in(group)) and batches.unfit_end(b)
    if unfit then return unfit end
    local sizes = {}
    if b.waited or group.dead then sizes['batch-failed:'] = 'SCARD' end
    if group.dead then sizes['batch-inner:'] = 'SCARD' end
    if b.declared or group.spawned then sizes['batch-ids:'] = 'LLEN' end
    if b.numbered then sizes['batch-numbered:'] = 'HLEN' end
    for kind, command in pairs(sizes) do
      unfit = misfit(redis.pcall(command, base .. kind .. b.id), base .. kind .. b.id)
      if unfit then return unfit end
    end
    return b.role and misfit(redis.pcall('HLEN', base .. 'batch-reports'), base .. 'batch-reports')
  end

  -- The ids in these runs of the results, and their positions there.
  local function part_ids(runs)
    local results, ids, positions, n = turn.results, {}, {}, 0
    for run = 1, #runs, 2 do
      for at = runs[run], runs[run] + runs[run + 1] - 1 do
        local id = results[2 * at - 1]
        n = n + 1
        ids[n], positions[n] = type(id) == 'number' and ARGV[id] or id, at
      end
    end
    return ids, positions
  end

  -- Before anything is written: finds the ids of each group, and makes dead letters of results of parts that cannot be.
  -- Returns why the keys of a batch cannot be used; nothing where they can.
  local function check()
    local bad, said = {}, {}
    for _, group in ipairs(turn.parts or none) do
      local b, unread = batches.find(group.id)
      if unread then return misfit(unread, base .. 'batch:' .. group.id) end
      local known = b or group.size and {id = group.id, declared = group.size, size = group.size}
      local unfit = known and not known.over and unfit_key(group, known)
      if unfit then return unfit end
      -- one that fails may cancel the batch, and those inside of it
      if b and group.dead and not b.over and not b.state and (b.said or group.policy) == 'cancel' then
        local fit, err = pcall(batches.check_stop, b)
        if not fit then return type(err) == 'table' and err.err or err end
      end
      local why = contradiction(group, b, said[group.id])
      group.wrong = why ~= nil
      if group.size and not why and not said[group.id] then said[group.id] = group end
      local by_number = b and b.numbered and group.numbers
      if not by_number then group.numbers = nil end
      local ids, positions = part_ids(by_number and (group.named or none) or group.results or none)
      group.done = ids
      -- of those that the library added, all belong to it
      if why or known and known.declared then
        local over = not why and beyond(known, ids) or none
        group.done = {}
        for i, at in ipairs(positions) do
          if why or over[ids[i]] then
            bad[at] = string.format('the task ran, but it cannot be a part of batch "%s": %s', group.id,
              why or string.format('all of its %.0f parts have ended already', known.size))
          else
            group.done[#group.done + 1] = ids[i]
          end
        end
      end
    end
    for _, spawned in ipairs(turn.spawned or none) do spawned.parent = bytes(turn.results[2 * spawned.result - 1]) end
    if not next(bad) then return nil end
    local receipts, results, letters = {}, {}, {}
    for _, letter in ipairs(dead) do letters[#letters + 1] = letter end
    for at, receipt in ipairs(turn.receipts) do
      local id, value = turn.results[2 * at - 1], turn.results[2 * at]
      if bad[at] then
        local header = cjson.encode({error = bad[at], attempts = 1, worker = turn.worker, id = bytes(id)})
        letters[#letters + 1] = {receipt = receipt, id = bytes(id), header = header}
      else
        receipts[#receipts + 1], results[#results + 1] = receipt, id
        results[#results + 1] = value
      end
    end
    for _, spawned in ipairs(turn.spawned or none) do spawned.dropped = bad[spawned.result] ~= nil end
    -- what a turn settles, from here on
    turn.receipts, turn.results, dead = receipts, results, letters
  end

  -- Whether these are not all ids that a task's own id begins, but some that a person has given.
  local function has_own(parent, ids)
    for _, id in ipairs(ids) do
      if string.sub(id, 1, #parent + 1) ~= parent .. '/' then return true end
    end
    return false
  end

  -- Adds the tasks that came with results, to the batches of those: before their parts end.
  local function spawn()
    local batch_of = {}
    for _, group in ipairs(turn.parts or none) do
      for _, at in ipairs(group.spawned or none) do batch_of[at] = group end
    end
    for at, spawned in ipairs(turn.spawned or none) do
      if not spawned.dropped then
        local ids, raws, cleared, wanted = spawned.ids, {}, {}, nil
        for i, id in ipairs(ids) do ids[i] = bytes(id) end
        local group = batch_of[at]
        local b = group and batches.read(group.id)
        if not b and group and group.size then b = batches.create(group.id, group.size, group) end
        -- what a copy of a part adds after the end has ended already, and who follows may be reading its results
        local fresh = b and b.over and b.declared and batches.unended(b, ids)
        if b and not b.over then
          fresh = batches.add(b, ids, has_own(spawned.parent, ids) and 'person' or 'task')
        end
        if fresh then
          wanted = {}
          for _, id in ipairs(fresh) do wanted[id] = true end
        end
        for i, raw in ipairs(spawned.raws) do
          if not wanted or wanted[ids[i]] then
            raws[#raws + 1], cleared[#cleared + 1] = bytes(raw), ids[i]
            -- of several with one id, the first
            if wanted then wanted[ids[i]] = nil end
          end
        end
        if #raws > 0 then
          -- what an earlier task of the same id left
          if not s.no_hash then slices('HDEL', RESULT, cleared) end
          slices('HDEL', ERRORS, cleared)
          if s.with_marks then slices('ZREM', CANCELLED, cleared) end
          slices('LPUSH', QUEUE, raws)
          s.arrived = s.arrived + #raws
        end
      end
    end
  end

  -- Whether what is left of a batch is being cancelled.
  local stopped = {}
  local function is_stopped(id)
    if stopped[id] == nil then
      local b = batches.read(id)
      stopped[id] = b ~= nil and b.state ~= nil and b.state ~= 'ended'
    end
    return stopped[id]
  end

  -- Counts the parts that this turn has settled.
  local function count_parts()
    for _, group in ipairs(turn.parts or none) do
      local ended = {done = group.done, numbers = group.numbers, failed = {}, cancelled = {}}
      local why = {}
      for _, at in ipairs(group.dead or none) do
        local letter = dead[at]
        if letter.buried and letter.id then
          local id = bytes(letter.id)
          ended.failed[#ended.failed + 1] = id
          local read, about = pcall(cjson.decode, bytes(letter.header))
          why[id] = read and type(about) == 'table' and type(about.error) == 'string' and about.error or nil
        end
      end
      for _, at in ipairs(group.cancelled or none) do
        if cancelled[at].gone then ended.cancelled[#ended.cancelled + 1] = bytes(cancelled[at].id) end
      end
      if not group.wrong then
        group.why = why
        batches.settle(group.id, ended, group)
      end
    end
    for _, dropped in ipairs(s.given_up or none) do batches.give_up(dropped.batch, dropped.part) end
    s.arrived = s.arrived + batches.pushed
    if batches.reports > 0 then s.reports = batches.reports end
  end

  return {check = check, spawn = spawn, is_stopped = is_stopped, count = count_parts}
end

local function parts()
  s.parts = s.parts or parts_of_turn()
  return s.parts
end
