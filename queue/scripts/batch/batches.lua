-- Batches (docs/batches.md), as the scripts see them that end a task: counting its parts, and pushing what follows. Joined in front of
-- those scripts (lua.ts).
--
-- A batch is a hash `batch:ID` (queue/batches/record.ts has its fields). Parts are counted by id, so that the same part may end twice:
--   added parts (the library's) are in the set `batch-left:ID` until they have ended, or in `batch-numbered:ID` if they are called ID:0, ID:1, …
--   (numbered.lua). The set has NUMBERED then, which is no id: workers of earlier versions, which know the set only, must not find it empty;
--   of declared ones, whose tasks name the size, those that have ended are in `batch-ended:ID`.
-- `batch-ids:ID` lists the ids of the parts, `batch-failed:ID` those that failed, `batch-inner:ID` the batches whose `then` is a part,
-- `batch-known:ID` has the ids of those that tasks added.
-- `batches` has the id of each batch by the time when its record is deleted, +inf while it is open.
--
-- In a queue in partitions each partition counts the parts that are in its list, in a record of its own: one has the role `whole`, the others
-- are a `share` each. The whole waits for its shares, `batch-shares:ID`, as for parts. A share that is over or fails has something to tell the
-- whole, and a whole that is being cancelled its shares: it is noted in `batch-reports`, and whoever reads that tells it there
-- (queue/workers/batch-reports.ts), as often as necessary: what was told before changes nothing. `shares` has the ids of shares as `batches` those of
-- batches; `batch-spawned:ID` lists the parts of a share that tasks added.
--
-- Whoever ends the last part concludes the batch in the same step: the `then` task is pushed, or becomes a dead letter, or is reported as
-- cancelled, and the batch is over. So no crash can lose it or repeat it.
--
-- `result`: the result hash, if it is at hand. `base`: what the internal keys of the queue begin with. `shown`: the name of the result
-- hash for people, if `result` is not it. `now`: ms of Redis time as a text, where it is at hand.
local function batches_of(queue, result, base, shown, now)
  local call, none = redis.call, {}
  local KEPT, NUMBERED = 7 * 24 * 3600 * 1000, '\0numbered'
  if not now then
    local clock = call('TIME')
    now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
  end
  local CANCELLED, ERRORS, DEAD, BATCHES = base .. 'cancelled', base .. 'errors', base .. 'dead', base .. 'batches'
  local SHARES, REPORTS = base .. 'shares', base .. 'batch-reports'
  local self = {pushed = 0, reports = 0, now = now}

  local function key(kind, id) return base .. kind .. ':' .. id end

  -- a count as anyone may have written it; nothing for what is none
  local function count_of(text)
    local count = tonumber(text)
    return count and count >= 0 and count < 1e15 and count % 1 == 0 and count or nil
  end

  -- one command for many values: Lua's stack does not hold all of them at once. Returns the sum of its replies.
  local function many(command, of, values)
    local sum = 0
    for from = 1, #values, 2000 do
      sum = sum + call(command, of, unpack(values, from, math.min(from + 1999, #values)))
    end
    return sum
  end

  -- Records by id, false where there is none: each is read once, and is then kept as Redis has it.
  local records = {}
  local FIELDS = {'size', 'declared', 'policy', 'open', 'state', 'then', 'thenId', 'thenBatch', 'thenSize', 'result',
    'done', 'failed', 'cancelled', 'waited', 'role', 'numbered'}

  -- The record of a batch; nothing if there is none, and why it cannot be read if its key has another type.
  local function find(id)
    if records[id] ~= nil then return records[id] or nil end
    local name = key('batch', id)
    local values = redis.pcall('HMGET', name, unpack(FIELDS))
    if values.err then return nil, values end
    local size = count_of(values[1])
    records[id] = false
    if not size then return nil end
    local b = {id = id, key = name, size = size}
    for i = 2, #FIELDS do b[FIELDS[i]] = values[i] or nil end
    b.declared, b.numbered, b.said, b.policy = count_of(b.declared), count_of(b.numbered), b.policy, b.policy or 'wait'
    b.over = b.state == 'ended' or b.state == 'failed' or b.state == 'cancelled'
    records[id] = b
    return b
  end

  local function read(id)
    local b, unfit = find(id)
    -- raises the error as it is
    if unfit then call('HLEN', key('batch', id)) end
    return b
  end
  self.find, self.count_of, self.read = find, count_of, read

  -- Adds to a counter of a batch. With `changes`, these are written later, together.
  local function count_up(b, field, by, changes)
    if by == 0 then return end
    b[field] = (count_of(b[field]) or 0) + by
    if not changes then return call('HSET', b.key, field, b[field]) end
    changes[#changes + 1], changes[#changes + 2] = field, b[field]
  end

  -- Another partition is to be told how this batch, or share, stands.
  local function report(b)
    -- a number that was never there: one that began anew would be taken for the one whose delivery is under way, and forgotten with it
    local clock = call('TIME')
    call('HSET', REPORTS, b.id, string.format('%.0f', clock[1] * 1000000 + clock[2]))
    self.reports = self.reports + 1
  end
  self.count_up, self.report = count_up, report

  -- what a part says of its batch, or the client that begins it
  local function describe(b, about)
    local fields = {}
    for _, field in ipairs({'policy', 'then', 'thenId', 'thenBatch', 'thenSize'}) do
      local value = about[field]
      if value and not b[field == 'policy' and 'said' or field] then
        b[field] = value
        if field == 'policy' then b.said = value end
        fields[#fields + 1], fields[#fields + 2] = field, value
        if field == 'thenBatch' and about.thenOuter then
          fields[#fields + 1], fields[#fields + 2] = 'thenOuter', about.thenOuter
        end
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
    b.role = about.role
    call('ZADD', b.role == 'share' and SHARES or BATCHES, '+inf', id)
    call('HSET', b.key, 'size', b.size, 'created', now, 'at', now, 'result', b.result)
    if size then call('HSET', b.key, 'declared', size) end
    if b.role then call('HSET', b.key, 'role', b.role, 'homeResult', about.homeResult) end
    if b.role == 'whole' then call('HSET', b.key, 'partitions', about.partitions) end
    if b.role == 'share' then call('HSET', b.key, 'home', about.home) end
    records[id] = b
    describe(b, about)
    return b
  end
  self.create = create

  -- The number of parts and shares of a batch that have not ended; nothing, and why, if the key that tells it has another type.
  local function count_left(b)
    if not b.left then
      local name = key(b.declared and 'batch-ended' or 'batch-left', b.id)
      local size = redis.pcall('SCARD', name)
      if type(size) == 'table' then return nil, size, name end
      local parts = b.declared and b.size - size or b.numbered and size - 1 + b.numbered or size
      b.shares = 0
      if b.role == 'whole' then
        name = key('batch-shares', b.id)
        b.shares = redis.pcall('SCARD', name)
        if type(b.shares) == 'table' then return nil, b.shares, name end
      end
      b.left = parts + b.shares
    end
    return b.left
  end

  local function left(b)
    local number, unfit, name = count_left(b)
    if unfit then call('SCARD', name) end
    return number
  end
  self.count_left, self.left = count_left, left
  local function numbers_of(b) return numbered_of(key('batch-numbered', b.id), b.id .. ':') end

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
    if not b.numbered then return among('batch-left', b.id, ids, 1) end
    return numbers_of(b).unended(ids, among('batch-left', b.id, ids, 1))
  end
  self.unended = unended

  -- Ends added parts. Returns the number of those that had not ended.
  local function finish_added(b, ids, numbers, changes)
    local before, gone, named = left(b), 0, ids
    if b.numbered then
      gone, named = numbers_of(b).finish(ids, numbers or none)
      if gone > 0 then count_up(b, 'numbered', -gone, changes) end
    end
    gone = gone + many('SREM', key('batch-left', b.id), named)
    b.left = before - gone
    return gone
  end

  -- Ends parts. `numbers`: runs of numbered ones. `changes`: as of count_up. Returns the number of those that had not ended.
  local function finish(b, ids, numbers, changes)
    if #ids == 0 and not numbers then return 0 end
    if not b.declared then return finish_added(b, ids, numbers, changes) end
    local fresh = unended(b, ids)
    -- a batch has no more parts than its size, whatever clients push
    for i = #fresh, left(b) + 1, -1 do fresh[i] = nil end
    if #fresh == 0 then return 0 end
    many('SADD', key('batch-ended', b.id), fresh)
    many('RPUSH', key('batch-ids', b.id), fresh)
    b.left = b.left - #fresh
    return #fresh
  end

  local function mark(id) return '\0batch\0' .. id end

  -- The `then` task with where the results are.
  local function with_parts(b)
    local body = string.match(b['then'], '^(%{.*)%}$')
    if not body then return b['then'] end
    local text = function(value) return (string.gsub(cjson.encode(value), '\\/', '/')) end
    local partitions = b.role == 'whole' and string.format(',"partitions":%.0f', count_of(call('HGET', b.key, 'partitions')) or 0) or ''
    return string.format('%s%s"parts":{"batch":%s,"size":%.0f,"succeeded":%.0f,"failed":%.0f,"cancelled":%.0f,"results":%s,"ids":%s%s}}',
      body, body == '{' and '' or ',', text(b.id), b.size, count_of(b.done) or 0, count_of(b.failed) or 0, count_of(b.cancelled) or 0,
      text(b.result or result or ''), text(key('batch-ids', b.id)), partitions)
  end

  local function clear(id)
    -- a key of another type is reported by workers
    if result then redis.pcall('HDEL', result, id) end
    call('HDEL', ERRORS, id)
    call('ZREM', CANCELLED, id)
  end

  local settle

  -- Why a batch that is begun or ends cannot be written: a key that this needs has another type. Also the command that fails there, and
  -- the key. Nothing where all can be used.
  local function unfit_end(b)
    local keys = {{'LLEN', queue}, {'ZCARD', b.role == 'share' and SHARES or BATCHES}, {'ZCARD', CANCELLED}, {'HLEN', ERRORS}, {'LLEN', DEAD}}
    if b.role then keys[#keys + 1] = {'HLEN', REPORTS} end
    if b.thenBatch then keys[#keys + 1] = {'SCARD', key('batch-inner', b.thenBatch)} end
    for _, one in ipairs(keys) do
      local size = redis.pcall(one[1], one[2])
      if type(size) == 'table' then return string.format('%s (the key is "%s")', size.err, one[2]), one end
    end
  end
  self.unfit_end = unfit_end

  -- What the task that does not follow would have said of the batch that it is a part of: perhaps no other part of that has run.
  local function about_outer(b)
    local read, about = pcall(cmsgpack.unpack, call('HGET', b.key, 'thenOuter') or '')
    if not read or type(about) ~= 'table' then return {} end
    for field, value in pairs(about) do
      -- something else may have written it
      if type(value) ~= 'string' and type(value) ~= 'number' then about[field] = nil end
    end
    return about
  end

  -- All parts have ended. Once the state says so, nobody tries again: if anything failed after that, `then` would be lost.
  local function conclude(b)
    local _, unfit = unfit_end(b)
    -- raises the error as it is
    if unfit then call(unpack(unfit)) end
    local state = b.state == 'failing' and 'failed' or b.state == 'cancelling' and 'cancelled' or 'ended'
    b.over, b.state = true, state
    call('HSET', b.key, 'state', state, 'endedAt', now)
    call('HDEL', b.key, 'open', 'numbered')
    call('ZADD', b.role == 'share' and SHARES or BATCHES, now + KEPT, b.id)
    call('ZREM', CANCELLED, mark(b.id))
    call('UNLINK', key('batch-left', b.id), key('batch-numbered', b.id), key('batch-inner', b.id), key('batch-known', b.id),
      key('batch-shares', b.id))
    if b.role == 'share' then
      -- the whole has them
      call('UNLINK', key('batch-ids', b.id))
      return report(b)
    end
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
      local said = about_outer(b)
      said.size, said.why, said.result = count_of(b.thenSize), {[id] = about.error}, b.result
      settle(outer, {[state == 'failed' and 'failed' or 'cancelled'] = {id}}, said)
    end
  end

  -- Concludes a batch whose parts have all ended, unless more are to come.
  local function conclude_if_done(b)
    if not b.over and (b.state or not b.open) and left(b) <= 0 then conclude(b) end
  end

  -- Cancels what is left of a batch: workers drop each part that they meet. `state`: 'failing' or 'cancelling'.
  local function stop(b, state, why)
    b.state = state
    call('ZADD', CANCELLED, now + KEPT, mark(b.id))
    call('HSET', b.key, 'state', state, 'why', why)
    if type(redis.pcall('HINCRBY', base .. 'stats', 'marks', 1)) ~= 'number' then
      redis.pcall('HSET', base .. 'stats', 'marks', now)
    end
    if b.role == 'whole' or b.role and state == 'failing' then report(b) end
    -- parts that are dead letters already, and would have been waited for
    count_up(b, 'failed', finish(b, call('SMEMBERS', key('batch-failed', b.id))))
    for _, inner in ipairs(call('SMEMBERS', key('batch-inner', b.id))) do
      local other = read(inner)
      if other and not other.over and not other.state then
        stop(other, 'cancelling', 'batch "' .. b.id .. '" was cancelled')
        conclude_if_done(other)
      end
    end
  end
  self.conclude_if_done, self.stop = conclude_if_done, stop

  -- Raises, before anything is written, if a key that `stop` needs has another type. A batch of which no part waits or runs ends with it, and
  -- is then a part that has ended of the one outside.
  self.check_stop = function(stopped)
    -- most keys are those of all batches
    local checked, fit = {}, {}
    local function check_batch(b)
      if not b or b.over or checked[b.id] then return end
      checked[b.id] = true
      left(b)
      call('SCARD', key('batch-failed', b.id))
      if b.declared then call('LLEN', key('batch-ids', b.id)) end
      if b.numbered then call('HLEN', key('batch-numbered', b.id)) end
      local role = b.role or ''
      local _, unfit
      if not fit[role] then _, unfit = unfit_end(b) end
      if unfit then call(unpack(unfit)) end
      fit[role] = true
      if b.thenBatch then call('SCARD', key('batch-inner', b.thenBatch)) end
      check_batch(b.thenBatch and read(b.thenBatch))
    end
    local function check_inner(b)
      check_batch(b)
      for _, id in ipairs(call('SMEMBERS', key('batch-inner', b.id))) do
        local inner = read(id)
        if inner and not inner.over and not inner.state and not checked[id] then check_inner(inner) end
      end
    end
    check_inner(stopped)
  end

  -- Parts have ended: `ended` has lists of ids, `done`, `failed` and `cancelled`, and `numbers`, runs of numbered ones that are done, each of
  -- which may be missing. `about`: what they say of the batch, and in `why` the error of each failed one.
  settle = function(id, ended, about)
    local b = read(id)
    if not b then
      if not about or not about.size then return end
      b = create(id, about.size, about)
    end
    if b.over then return end
    if about then describe(b, about) end
    local done, cancelled, failures = ended.done or none, ended.cancelled or none, ended.failed or none
    local changes, fresh, failed = {'at', now}, none, 0
    if #failures > 0 then
      fresh = unended(b, failures)
      if #fresh > 0 then
        many('SADD', key('batch-failed', id), fresh)
        if b.policy ~= 'wait' or b.state then failed = finish(b, fresh, nil, changes) end
        if not b.waited then count_up(b, 'waited', 1, changes) end
      end
    end
    if b.waited and b.policy == 'wait' then
      for _, ids in ipairs({done, cancelled, ended.numbers and numbers_of(b).ids(ended.numbers) or none}) do
        if #ids > 0 then many('SREM', key('batch-failed', id), ids) end
      end
    end
    count_up(b, 'done', finish(b, done, ended.numbers, changes), changes)
    count_up(b, 'failed', failed, changes)
    count_up(b, 'cancelled', finish(b, cancelled, nil, changes), changes)
    call('HSET', b.key, unpack(changes))
    if failed > 0 and b.policy == 'cancel' and not b.state then
      local why = about and about.why and about.why[fresh[1]] or 'it failed'
      stop(b, 'failing', 'part ' .. string.sub(fresh[1], 1, 200) .. ': ' .. string.sub(why, 1, 1000))
    end
    conclude_if_done(b)
  end
  self.settle = settle

  -- Adds parts. Returns which of them are new: a part that has been added is not added again, unless it has ended and `by` is missing.
  -- `by`: who adds them. 'client': each id is given once. 'task': they are remembered, as a task that runs twice adds them twice;
  -- 'person': they may be those of any part of before. `first`: the number of the first one, if all are numbered and follow one another.
  self.add = function(b, ids, by, first)
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
      first = nil
    elseif not by then
      fresh = among('batch-left', b.id, ids, 0)
    end
    if #fresh == 0 then return fresh end
    local added = #fresh
    if not b.declared then
      if first and by == 'client' then
        if not b.numbered then call('SADD', key('batch-left', b.id), NUMBERED) end
        numbers_of(b).add(first, added)
        count_up(b, 'numbered', added)
      else
        added = many('SADD', key('batch-left', b.id), fresh)
      end
      -- the client lists what it adds in the order of all partitions
      if b.role ~= 'whole' or by ~= 'client' then many('RPUSH', key('batch-ids', b.id), fresh) end
      if b.role == 'share' and by ~= 'client' then many('RPUSH', key('batch-spawned', b.id), fresh) end
    end
    if b.left then b.left = b.left + added end
    count_up(b, 'size', added)
    return fresh
  end

  local function forget_left(b)
    call('UNLINK', key('batch-left', b.id), key('batch-numbered', b.id))
    call('HDEL', b.key, 'numbered')
    b.numbered = nil
  end

  -- All added parts have been counted: what is still among those that have not ended is none, and something else wrote it there.
  self.drop_strays = function(b)
    if b.declared or b.over or left(b) <= b.shares then return end
    local ended = (count_of(b.done) or 0) + (count_of(b.failed) or 0) + (count_of(b.cancelled) or 0)
    if ended ~= b.size then return end
    forget_left(b)
    b.left = b.shares
  end

  -- Ends a batch that is being cancelled without those of its parts that have not ended; its shares are waited for.
  self.abandon = function(b)
    local lost = left(b) - (b.shares or 0)
    count_up(b, 'cancelled', lost)
    forget_left(b)
    b.left = b.left - lost
    conclude_if_done(b)
  end

  -- A dead letter was dropped, so that its part cannot be retried any more.
  self.give_up = function(id, part)
    local b = type(id) == 'string' and type(part) == 'string' and read(id)
    if not b or b.over or call('SMISMEMBER', key('batch-failed', id), part)[1] == 0 then return end
    local failed = finish(b, {part})
    call('SREM', key('batch-failed', id), part)
    count_up(b, 'failed', failed)
    conclude_if_done(b)
  end

  -- A dead letter goes back to the queue.
  self.retry = function(id, part)
    local b = type(id) == 'string' and type(part) == 'string' and read(id)
    if b and not b.over then call('SREM', key('batch-failed', id), part) end
  end
  return self
end
