-- One turn of a worker: settle what finished, take what comes next, renew the lease. All or nothing, in one round trip.
--
-- KEYS  1 queue  2 result  3 workers  4 worker  5 inflight  6 carried  7 wake  8 delayed  9 dead  10 errors
--       11 stats  12 history  13 load
-- ARGV  1 worker id   2 epoch   3 turn number, one more than the last turn's unless this repeats it
--       4 highest receipt counter that the worker has seen   5 tasks wanted   6 lease, ms   7 state
--       8 service time of the settled tasks, µs in all, then the bucket of each slow one (slow.ts): `52000 3 7`
--       9 dead letters to keep
--       10 results R  11 retries T  12 dead letters D  13 released L, then
--       R receipts, R × (id, value), T × (receipt, due in ms, "attempts:deliveries"),
--       D × (receipt, id, header of the dead letter as JSON), L receipts
-- Returns  {0} when the worker is fenced: it has no lease of this epoch, and nothing was done; else
--          {1, Redis time in ms, length of the queue or an error in words, drain?, counter of the first task,
--           {task, …}, {index, "attempts:deliveries", …} for the tasks that have a past,
--           ms until the next delayed task falls due, or -1}
--
-- Before: every task of this worker is in its in-flight hash (or in its wake list). After: each settled task is gone
-- from there and is in exactly one of result, delayed, dead or queue; each returned task is in flight with a receipt
-- `epoch-counter`. Repeating a turn after a lost reply changes nothing more and returns the same tasks again.
-- A turn older than the last one (a packet that was long on its way) is refused, and so is one that would have to
-- write to a queue or result key of another type: of that only the lease is renewed, so that what the worker holds
-- waits there until the key is right, and is not run by one worker after the other meanwhile.
local CHUNK = 1000
local PROMOTE = 100
local TWO_DIGITS = '00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899'

local worker = redis.call('HMGET', KEYS[4], 'epoch', 'turn', 'seq', 'drain')
local epoch = ARGV[2]
if worker[1] ~= epoch then return {0} end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local number, last = tonumber(ARGV[3]), tonumber(worker[2])
if number < last then return redis.error_reply('STALE turn ' .. number .. ' came after turn ' .. last) end
local repeated = number == last
local seq = tonumber(worker[3])
-- who drains gets nothing: the mark may have come after the worker asked
local drain = (tonumber(worker[4]) or 0) > now
local want = drain and 0 or tonumber(ARGV[5])
local r, t, d, l = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])

-- a key of another type is never touched: with a wrong queue, results still go out, but nothing is taken or handed
-- back; with a wrong result, nothing is taken, because it could not be answered
local function misfit(size, key)
  return type(size) == 'table' and string.format('%s (the key is "%s")', size.err, key) or nil
end
local length = redis.pcall('LLEN', KEYS[1])
local no_list = misfit(length, KEYS[1])
local no_hash = misfit(redis.pcall('HLEN', KEYS[2]), KEYS[2])
local broken = no_list or no_hash
if broken then want = 0 end
if not repeated and ((no_list and l > 0) or (no_hash and r > 0)) then
  redis.call('ZADD', KEYS[3], now + tonumber(ARGV[6]), ARGV[1])
  return redis.error_reply(no_list and l > 0 and no_list or no_hash)
end

-- a short name for a task's bytes that cannot be mistaken for another's
local function digest(raw)
  if #raw <= 40 then return '=' .. raw end
  return '#' .. redis.sha1hex(raw)
end

-- what a task that goes back to the list has been through; equal tasks share a field and keep a past each
local function remember(raw, past)
  local field = digest(raw)
  local others = redis.call('HGET', KEYS[12], field)
  redis.call('HSET', KEYS[12], field, others and (others .. ',' .. past) or past)
end

local function recall(raw)
  local field = digest(raw)
  local pasts = redis.call('HGET', KEYS[12], field)
  if not pasts then return nil end
  local rest, last = string.match(pasts, '^(.*),([^,]*)$')
  if rest then redis.call('HSET', KEYS[12], field, rest) else redis.call('HDEL', KEYS[12], field) end
  return last or pasts
end

-- drops the oldest dead letters over the limit, and with each its error, unless a later one has replaced that
local function bury(kept)
  while redis.call('LLEN', KEYS[9]) > kept do
    local header, raw = string.match(redis.call('RPOP', KEYS[9]), '^%d+ ([^\n]*)\n(.*)$')
    local read, about = pcall(cjson.decode, header or '')
    local id = read and type(about) == 'table' and about.id or raw
    if id and redis.call('HGET', KEYS[10], id) == header then redis.call('HDEL', KEYS[10], id) end
  end
end

local function slices(first, count, width, call)
  local from, last = first, first + count * width - 1
  while from <= last do
    local to = math.min(from + CHUNK * width - 1, last)
    call(from, to)
    from = to + 1
  end
end

local with_carried = redis.call('EXISTS', KEYS[6]) == 1
if not repeated then
  local receipts, pairs_at = 14, 14 + r
  if r > 0 then
    -- first of all writes: what Redis refuses here (wrong type, no memory) leaves everything as it was
    slices(pairs_at, r, 2, function(a, b) redis.call('HSET', KEYS[2], unpack(ARGV, a, b)) end)
    redis.call('HINCRBY', KEYS[11], 'completed', r)
    if redis.call('HLEN', KEYS[10]) > 0 then
      for i = 0, r - 1 do redis.call('HDEL', KEYS[10], ARGV[pairs_at + 2 * i]) end
    end
  end
  if r + t + d > 0 then redis.call('HINCRBY', KEYS[11], 'serviceUs', string.match(ARGV[8], '^%d+')) end
  for bucket in string.gmatch(ARGV[8], ' (%d+)') do redis.call('HINCRBY', KEYS[11], 'slow' .. bucket, 1) end

  local at = pairs_at + 2 * r
  for _ = 1, t do
    local receipt, due, past = ARGV[at], now + tonumber(ARGV[at + 1]), ARGV[at + 2]
    local raw = redis.call('HGET', KEYS[5], receipt)
    if raw then
      local attempts, deliveries = string.match(past, '^(%d+):(%d+)$')
      redis.call('ZADD', KEYS[8], due, receipt .. '|' .. attempts .. '|' .. deliveries .. '|' .. raw)
      redis.call('HDEL', KEYS[5], receipt)
      redis.call('HDEL', KEYS[6], receipt)
      redis.call('HINCRBY', KEYS[11], 'retried', 1)
    end
    at = at + 3
  end
  for _ = 1, d do
    local receipt, id, header = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local raw = redis.call('HGET', KEYS[5], receipt)
    if raw then
      redis.call('LPUSH', KEYS[9], string.format('%.0f', now) .. ' ' .. header .. '\n' .. raw)
      redis.call('HSET', KEYS[10], id, header)
      bury(tonumber(ARGV[9]))
      redis.call('HDEL', KEYS[5], receipt)
      redis.call('HDEL', KEYS[6], receipt)
      redis.call('HINCRBY', KEYS[11], 'failed', 1)
    end
    at = at + 3
  end
  -- newest first, so that the oldest ends up outermost and is taken first again
  for i = at + l - 1, at, -1 do
    local receipt = ARGV[i]
    local raw = redis.call('HGET', KEYS[5], receipt)
    if raw then
      local past = redis.call('HGET', KEYS[6], receipt)
      if past then remember(raw, past) end
      redis.call('RPUSH', KEYS[1], raw)
      redis.call('HDEL', KEYS[5], receipt)
      redis.call('HDEL', KEYS[6], receipt)
      redis.call('HINCRBY', KEYS[11], 'taken', -1)
    end
  end
end

-- what fell due goes to the back of the list, as new arrivals do
local function next_due()
  return tonumber(redis.call('ZRANGE', KEYS[8], 0, 0, 'WITHSCORES')[2])
end
local due_at = next_due()
if due_at and due_at <= now and not broken then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[8], '-inf', now, 'LIMIT', 0, PROMOTE)) do
    local attempts, deliveries, at = string.match(member, '^[^|]*|(%d+)|(%d+)|()')
    local raw = string.sub(member, at)
    redis.call('LPUSH', KEYS[1], raw)
    redis.call('ZREM', KEYS[8], member)
    if attempts ~= '0' or deliveries ~= '0' then remember(raw, attempts .. ':' .. deliveries) end
  end
  due_at = next_due()
end

local tasks, pasts = {}, {}
local first = tonumber(ARGV[4]) + 1
-- taken by a turn whose reply was lost
for counter = first, seq do
  local receipt = epoch .. '-' .. counter
  local raw = redis.call('HGET', KEYS[5], receipt)
  if raw then
    tasks[#tasks + 1] = raw
    local past = redis.call('HGET', KEYS[6], receipt)
    if past then pasts[#pasts + 1] = #tasks; pasts[#pasts + 1] = past end
  end
end

if not no_list then
  length = redis.call('LLEN', KEYS[1])
  -- a blocking move may have put a task aside (two, when a connection was replaced while its move was blocked); what
  -- is not wanted any more goes back to where it came from, the oldest outermost
  local fresh = {}
  repeat
    local woken = redis.call('RPOP', KEYS[7])
    fresh[#fresh + 1] = woken or nil
  until not woken
  while #fresh > 0 and #tasks + #fresh > want do
    redis.call('RPUSH', KEYS[1], table.remove(fresh))
    length = length + 1
  end
  local more = want - #tasks - #fresh
  if more > 0 and length > 0 then
    local popped = redis.call('RPOP', KEYS[1], more)
    length = length - #popped
    if #fresh == 0 then fresh = popped else for i = 1, #popped do fresh[#fresh + 1] = popped[i] end end
  end
  if #fresh > 0 then
    local with_past = redis.call('HLEN', KEYS[12]) > 0
    local fields, add = {}, #tasks
    if add == 0 then tasks = fresh else for i = 1, #fresh do tasks[add + i] = fresh[i] end end
    -- numbers become text by way of floating point, which costs more than the rest here: once for a hundred receipts
    local prefix
    for i = 1, #fresh do
      seq = seq + 1
      local low = seq % 100
      if low == 0 or not prefix then prefix = string.format('%s-%.0f', epoch, (seq - low) / 100) end
      local receipt
      if seq < 100 then receipt = string.format('%s-%d', epoch, seq)
      else receipt = prefix .. string.sub(TWO_DIGITS, 2 * low + 1, 2 * low + 2) end
      fields[2 * i - 1], fields[2 * i] = receipt, fresh[i]
      local past = with_past and recall(fresh[i])
      if past then
        redis.call('HSET', KEYS[6], receipt, past)
        pasts[#pasts + 1] = add + i
        pasts[#pasts + 1] = past
      end
    end
    for from = 1, #fields, 2 * CHUNK do
      redis.call('HSET', KEYS[5], unpack(fields, from, math.min(from + 2 * CHUNK - 1, #fields)))
    end
    redis.call('HINCRBY', KEYS[11], 'taken', #fresh)
  end
end

-- last, so that under load the in-flight hash is never empty: one that begins anew is a list at first, which each new field
-- is looked for in from end to end
if not repeated and r > 0 then
  slices(14, r, 1, function(a, b)
    redis.call('HDEL', KEYS[5], unpack(ARGV, a, b))
    if with_carried then redis.call('HDEL', KEYS[6], unpack(ARGV, a, b)) end
  end)
end

redis.call('HSET', KEYS[4], 'turn', ARGV[3], 'seq', seq, 'state', ARGV[7])
redis.call('HSET', KEYS[13], ARGV[1], redis.call('HLEN', KEYS[5]))
redis.call('ZADD', KEYS[3], now + tonumber(ARGV[6]), ARGV[1])
-- what is due and was too much for this turn wants another one at once
local next_in = due_at and not broken and math.max(0, due_at - now) or -1
return {1, now, broken or length, drain and 1 or 0, first, tasks, pasts, next_in}
