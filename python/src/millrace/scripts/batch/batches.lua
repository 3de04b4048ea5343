-- Batches (docs/batches.md), as the scripts see them that end a task: counting its parts, and pushing what follows. Joined in front of
-- those scripts (lua.ts).
--
-- A batch is a hash `batch:ID` (queue/batches/record.ts has its fields). Parts are counted by id, so that the same part may end twice:
--   added parts (the library's) are in the set `batch-left:ID` until they have ended;
--   of declared ones, whose tasks name the size, those that have ended are in `batch-ended:ID`.
-- `batch-ids:ID` lists the ids of the parts, `batch-failed:ID` those that failed, `batch-inner:ID` the batches whose `then` is a part,
-- `batch-known:ID` has the ids of those that tasks added.
-- `batches` has the id of each batch by the time when its record is deleted, +inf while it is open.
--
-- Whoever ends the last part concludes the batch in the same step: the `then` task is pushed, or becomes a dead letter, or is reported as
-- cancelled, and the batch is over. So no crash can lose it or repeat it.
--
-- `result`: the result hash, if it is at hand. `base`: what the internal keys of the queue begin with. `shown`: the name of the result
-- hash for people, if `result` is not it.
local function batches_of(queue, result, base, shown)
  local call = redis.call
  local KEPT = 7 * 24 * 3600 * 1000
  local clock = call('TIME')
  local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
  local CANCELLED, ERRORS, DEAD, BATCHES = base .. 'cancelled', base .. 'errors', base .. 'dead', base .. 'batches'
  local self = {pushed = 0}

  local function key(kind, id) return base .. kind .. ':' .. id end

  -- one command for many values: Lua's stack does not hold all of them at once. Returns the sum of its replies.
  local function many(command, of, values)
    local sum = 0
    for from = 1, #values, 2000 do
      sum = sum + call(command, of, unpack(values, from, math.min(from + 1999, #values)))
    end
    return sum
  end

  -- The record of a batch; nothing if there is none.
  local FIELDS = {'size', 'declared', 'policy', 'open', 'state', 'then', 'thenId', 'thenBatch', 'thenSize', 'result'}
  local function read(id)
    local values = call('HMGET', key('batch', id), unpack(FIELDS))
    local size = tonumber(values[1])
    if not size then return nil end
    local b = {id = id, key = key('batch', id), size = size}
    for i = 2, #FIELDS do b[FIELDS[i]] = values[i] or nil end
    b.declared, b.said, b.policy = tonumber(b.declared), b.policy, b.policy or 'wait'
    b.over = b.state == 'ended' or b.state == 'failed' or b.state == 'cancelled'
    return b
  end
  self.read = read

  -- what a part says of its batch, or the client that begins it
  local function describe(b, about)
    local fields = {}
    for _, field in ipairs({'policy', 'then', 'thenId', 'thenBatch', 'thenSize'}) do
      local value = about[field]
      if value and not b[field == 'policy' and 'said' or field] then
        b[field] = value
        if field == 'policy' then b.said = value end
        fields[#fields + 1], fields[#fields + 2] = field, value
      end
    end
    if #fields == 0 then return end
    call('HSET', b.key, unpack(fields))
    if about.thenBatch then call('SADD', key('batch-inner', about.thenBatch), b.id) end
  end

  -- Begins the record of a batch. `size`: of declared parts.
  local function create(id, size, about)
    local b = {id = id, key = key('batch', id), size = size or 0, declared = size, policy = about.policy or 'wait',
      result = about.result or shown or result or ''}
    call('HSET', b.key, 'size', b.size, 'created', now, 'at', now, 'result', b.result)
    if size then call('HSET', b.key, 'declared', size) end
    call('ZADD', BATCHES, '+inf', id)
    describe(b, about)
    return b
  end
  self.create = create

  -- parts of a batch that have not ended
  local function left(b)
    if b.declared then return b.size - call('SCARD', key('batch-ended', b.id)) end
    return call('SCARD', key('batch-left', b.id))
  end

  -- those of these ids that are members of a set, with `is` = 1, or are not, with 0; each once
  local function among(kind, id, ids, is)
    local some, seen = {}, {}
    for from = 1, #ids, 2000 do
      local to = math.min(from + 1999, #ids)
      local found = call('SMISMEMBER', key(kind, id), unpack(ids, from, to))
      for i = from, to do
        if found[i - from + 1] == is and not seen[ids[i]] then
          seen[ids[i]] = true
          some[#some + 1] = ids[i]
        end
      end
    end
    return some
  end

  -- those of these ids that have not ended, each once
  local function unended(b, ids)
    if b.declared then return among('batch-ended', b.id, ids, 0) end
    return among('batch-left', b.id, ids, 1)
  end
  self.unended = unended

  -- Ends parts. Returns the number of those that had not ended.
  local function finish(b, ids)
    if #ids == 0 then return 0 end
    if not b.declared then return many('SREM', key('batch-left', b.id), ids) end
    local fresh = unended(b, ids)
    -- a batch has no more parts than its size, whatever clients push
    for i = #fresh, left(b) + 1, -1 do fresh[i] = nil end
    if #fresh == 0 then return 0 end
    many('SADD', key('batch-ended', b.id), fresh)
    many('RPUSH', key('batch-ids', b.id), fresh)
    return #fresh
  end

  local function mark(id) return '\0batch\0' .. id end

  -- The `then` task with where the results are.
  local function with_parts(b)
    local body = string.match(b['then'], '^(%{.*)%}$')
    if not body then return b['then'] end
    local counts = call('HMGET', b.key, 'done', 'failed', 'cancelled')
    local text = function(value) return (string.gsub(cjson.encode(value), '\\/', '/')) end
    return string.format('%s%s"parts":{"batch":%s,"size":%.0f,"succeeded":%.0f,"failed":%.0f,"cancelled":%.0f,"results":%s,"ids":%s}}',
      body, body == '{' and '' or ',', text(b.id), b.size, counts[1] or 0, counts[2] or 0, counts[3] or 0,
      text(b.result or result or ''), text(key('batch-ids', b.id)))
  end

  local function clear(id)
    -- a key of another type is reported by workers
    if result then redis.pcall('HDEL', result, id) end
    call('HDEL', ERRORS, id)
    call('ZREM', CANCELLED, id)
  end

  local settle

  -- All parts have ended.
  local function conclude(b)
    local state = b.state == 'failing' and 'failed' or b.state == 'cancelling' and 'cancelled' or 'ended'
    b.over, b.state = true, state
    call('HSET', b.key, 'state', state, 'endedAt', now)
    call('HDEL', b.key, 'open')
    call('ZADD', BATCHES, now + KEPT, b.id)
    call('ZREM', CANCELLED, mark(b.id))
    call('UNLINK', key('batch-left', b.id), key('batch-inner', b.id), key('batch-known', b.id))
    if not b['then'] then return end
    local id, outer, raw = b.thenId, b.thenBatch, with_parts(b)
    if outer then call('SREM', key('batch-inner', outer), b.id) end
    clear(id)
    if state == 'ended' then
      call('LPUSH', queue, raw)
      self.pushed = self.pushed + 1
      return
    end
    local about = {attempts = 0, worker = ''}
    if state == 'failed' then
      local why = call('HGET', b.key, 'why') or 'a part failed'
      about.error = 'batch "' .. b.id .. '" failed, and what was left of it was cancelled: ' .. why
      about.batch, about.id = outer, id ~= raw and id or nil
      local header = cjson.encode(about)
      call('LPUSH', DEAD, now .. ' ' .. header .. '\n' .. raw)
      call('HSET', ERRORS, id, header)
    else
      about.error, about.cancelled = 'cancelled', true
      call('HSET', ERRORS, id, cjson.encode(about))
    end
    if outer then
      settle(outer, {[state == 'failed' and 'failed' or 'cancelled'] = {id}},
        {size = tonumber(b.thenSize), why = {[id] = about.error}, result = b.result})
    end
  end

  -- Concludes a batch whose parts have all ended, unless more are to come.
  local function conclude_if_done(b)
    if not b.over and (b.state or not b.open) and left(b) <= 0 then conclude(b) end
  end
  self.conclude_if_done = conclude_if_done

  -- Cancels what is left of a batch: workers drop each part that they meet. `state`: 'failing' or 'cancelling'.
  local function stop(b, state, why)
    b.state = state
    call('HSET', b.key, 'state', state, 'why', why)
    call('ZADD', CANCELLED, now + KEPT, mark(b.id))
    if type(redis.pcall('HINCRBY', base .. 'stats', 'marks', 1)) ~= 'number' then
      redis.pcall('HSET', base .. 'stats', 'marks', now)
    end
    -- parts that are dead letters already, and would have been waited for
    local failed = finish(b, call('SMEMBERS', key('batch-failed', b.id)))
    if failed > 0 then call('HINCRBY', b.key, 'failed', failed) end
    for _, inner in ipairs(call('SMEMBERS', key('batch-inner', b.id))) do
      local other = read(inner)
      if other and not other.over and not other.state then
        stop(other, 'cancelling', 'batch "' .. b.id .. '" was cancelled')
        -- it may be over, with those inside of it
        conclude_if_done(read(inner))
      end
    end
  end
  self.stop = stop

  -- Parts have ended: `ended` has lists of ids, `done`, `failed` and `cancelled`, each of which may be missing. `about`: what they say of the
  -- batch, and in `why` the error of each failed one.
  settle = function(id, ended, about)
    local b = read(id)
    if not b then
      if not about or not about.size then return end
      b = create(id, about.size, about)
    end
    if b.over then return end
    if about then describe(b, about) end
    local done, cancelled, failures = ended.done or {}, ended.cancelled or {}, ended.failed or {}
    local sums = {failed = 0}
    local fresh = #failures > 0 and unended(b, failures) or failures
    if #fresh > 0 then
      many('SADD', key('batch-failed', id), fresh)
      if b.policy ~= 'wait' or b.state then sums.failed = finish(b, fresh) end
    end
    if b.policy == 'wait' then
      for _, ids in ipairs({done, cancelled}) do
        if #ids > 0 then many('SREM', key('batch-failed', id), ids) end
      end
    end
    sums.done, sums.cancelled = finish(b, done), finish(b, cancelled)
    for field, count in pairs(sums) do
      if count > 0 then call('HINCRBY', b.key, field, count) end
    end
    call('HSET', b.key, 'at', now)
    if sums.failed > 0 and b.policy == 'cancel' and not b.state then
      local why = about and about.why and about.why[fresh[1]] or 'it failed'
      stop(b, 'failing', 'part ' .. string.sub(fresh[1], 1, 200) .. ': ' .. string.sub(why, 1, 1000))
      -- batches inside of it may have ended, and this one with them
      b = read(id)
    end
    conclude_if_done(b)
  end
  self.settle = settle

  -- Adds parts. Returns which of them are new: a part that has been added is not added again, unless it has ended and `by` is missing.
  -- `by`: who adds them. 'client': each id is given once. 'task': they are remembered, as a task that runs twice adds them twice;
  -- 'person': they may be those of any part of before.
  self.add = function(b, ids, by)
    local KNOWN = key('batch-known', b.id)
    if by == 'person' and call('HEXISTS', b.key, 'known') == 0 then
      call('HSET', b.key, 'known', 1)
      for from = 0, call('LLEN', key('batch-ids', b.id)) - 1, 2000 do
        many('SADD', KNOWN, call('LRANGE', key('batch-ids', b.id), from, from + 1999))
      end
    end
    local fresh = ids
    if (by and by ~= 'client') or call('EXISTS', KNOWN) == 1 then
      fresh = among('batch-known', b.id, ids, 0)
      if b.declared then fresh = unended(b, fresh) end
      -- what such a client has added itself is not among those
      if not by then fresh = among('batch-left', b.id, fresh, 0) end
      if #fresh > 0 then many('SADD', KNOWN, fresh) end
    elseif not by then
      fresh = among('batch-left', b.id, ids, 0)
    end
    if #fresh == 0 then return fresh end
    local added = #fresh
    if not b.declared then
      added = many('SADD', key('batch-left', b.id), fresh)
      many('RPUSH', key('batch-ids', b.id), fresh)
    end
    b.size = b.size + added
    call('HINCRBY', b.key, 'size', added)
    return fresh
  end

  -- Ends a batch that is being cancelled without those of its parts that have not ended.
  self.abandon = function(b)
    call('HINCRBY', b.key, 'cancelled', left(b))
    conclude(b)
  end

  -- A dead letter was dropped, so that its part cannot be retried any more.
  self.give_up = function(id, part)
    local b = type(id) == 'string' and type(part) == 'string' and read(id)
    if not b or b.over or call('SMISMEMBER', key('batch-failed', id), part)[1] == 0 then return end
    local failed = finish(b, {part})
    call('SREM', key('batch-failed', id), part)
    if failed > 0 then call('HINCRBY', b.key, 'failed', failed) end
    conclude_if_done(b)
  end

  -- A dead letter goes back to the queue.
  self.retry = function(id, part)
    local b = type(id) == 'string' and type(part) == 'string' and read(id)
    if b and not b.over then call('SREM', key('batch-failed', id), part) end
  end
  return self
end
