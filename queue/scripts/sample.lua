-- A consistent sample of one queue.
--
-- KEYS  1 queue  2 result  3 workers  4 load  5 delayed  6 dead  7 stats  8 paused  9 expiry  10 suspects  11 leaving  12 apart
--       13 clock  14 limits  15 priorities
-- ARGV  1 buckets of slow tasks (pool/slow-tasks.ts)  2 horizon for delayed tasks that fall due soon, ms
-- Returns  {Redis time in ms, tasks waiting (suspects included) or an error message, type of the result key, delayed tasks, those
--           of them that are due, when the next one falls due in ms or '', dead letters, tasks in flight,
--           workers that hold any, workers, workers whose lease has expired,
--           {taken, completed, failed, retried, recovered, fenced, serviceUs, cancelled, squaredTasks, squaresS2, expired, duplicates},
--           whether it is paused, whether sweep.lua has work or a report of a batch (batch/batches.lua) is to be delivered, suspects,
--           workers ordered to drain, {tasks in slow bucket 1, …}, when the first lease expires in ms or '',
--           delayed tasks that fall due within the horizon, suspects that must run alone,
--           workers that hold suspects and nothing else, suspects in flight there,
--           whether there are workers, but none made a turn for so long that queue time (turn.lua) would stop advancing, and
--           none rests (rest.lua),
--           the limits of the queue and what they allow (limits/survey.lua), or nothing. What they hold back is among the waiting;
--           priorities that have lists, with a comma between them};
--           where another key than the first two is of another type: {its position, its type}
-- whether sweep.lua has work, or another partition is to be told of a batch
local function unswept(now)
  return redis.call('ZCOUNT', KEYS[9], '-inf', now) > 0 or redis.call('EXISTS', string.sub(KEYS[7], 1, -6) .. 'batch-reports') == 1
end

-- what something else wrote there is none
local function levels()
  local names, found = {'high', 'low'}, {}
  for i, state in ipairs(redis.pcall('HMGET', KEYS[15], 'high', 'low')) do
    if state then found[#found + 1] = names[i] end
  end
  return table.concat(found, ',')
end

local function sample()
  local clock = redis.call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  local length = redis.pcall('LLEN', KEYS[1])
  local suspects = redis.call('LLEN', KEYS[10])
  length = type(length) == 'table' and length.err or length + suspects
  local inflight, busy = 0, 0
  for _, n in ipairs(redis.call('HVALS', KEYS[4])) do
    -- values that other programs wrote are ignored
    n = tonumber(n)
    if n and n > 0 and n < 1e9 then
      inflight = inflight + n
      busy = busy + 1
    end
  end
  -- clients may have written fields of any length: truncated
  local function numbers(texts)
    for i, text in ipairs(texts) do texts[i] = text and string.sub(text, 1, 32) end
    return texts
  end
  local apart, beside = 0, 0
  for _, worker in ipairs(redis.call('HKEYS', KEYS[12])) do
    local n = tonumber(redis.call('HGET', KEYS[4], worker) or 0)
    if n and n > 0 and n < 1e9 then apart, beside = apart + 1, beside + n end
  end
  local at, lease, rest = unpack(redis.call('HMGET', KEYS[13], 'at', 'lease', 'rest'))
  local heard, most = tonumber(at), math.min(2000, (tonumber(lease) or 15000) / 3)
  local workers = redis.call('ZCARD', KEYS[3])
  -- whoever was heard last rests
  local rested, till = string.match(rest or '', '^(%d+):(%d+)$')
  local expected = rested and rested == at and now >= heard and now < tonumber(till)
  local silent = workers > 0 and heard and not expected and math.abs(now - heard) > most
  local slow = {}
  for i = 1, tonumber(ARGV[1]) do slow[i] = 'slow' .. i end
  local limits = {}
  if redis.call('EXISTS', KEYS[14]) == 1 then
    limits = {survey(string.sub(KEYS[7], 1, -6), KEYS[14], KEYS[1], now, tonumber(ARGV[2]))}
    if type(length) == 'number' then length = length + limits[2][3] end
  end
  local next_due = redis.call('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES')[2] or ''
  return {now, length, redis.call('TYPE', KEYS[2]).ok, redis.call('ZCARD', KEYS[5]),
    redis.call('ZCOUNT', KEYS[5], '-inf', now), next_due, redis.call('LLEN', KEYS[6]), inflight, busy,
    workers, redis.call('ZCOUNT', KEYS[3], '-inf', now),
    numbers(redis.call('HMGET', KEYS[7], 'taken', 'completed', 'failed', 'retried', 'recovered', 'fenced',
      'serviceUs', 'cancelled', 'squaredTasks', 'squaresS2', 'expired', 'duplicates')),
    redis.call('EXISTS', KEYS[8]), unswept(now) and 1 or 0, suspects,
    redis.call('ZCOUNT', KEYS[11], '(' .. now, '+inf'), numbers(redis.call('HMGET', KEYS[7], unpack(slow))),
    redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2] or '',
    redis.call('ZCOUNT', KEYS[5], '(' .. now, now + tonumber(ARGV[2])),
    math.max(0, math.min(suspects, tonumber(redis.call('HGET', KEYS[7], 'asideAlone') or 0) or 0)), apart, beside,
    silent and 1 or 0, limits, levels()}
end

local done, found = pcall(sample)
if done then return found end
local types = {[3] = 'zset', [4] = 'hash', [5] = 'zset', [6] = 'list', [7] = 'hash', [9] = 'zset', [10] = 'list', [11] = 'zset',
  [12] = 'hash', [13] = 'hash', [14] = 'hash'}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if types[i] and kind ~= 'none' and kind ~= types[i] then return {i, kind} end
end
error(found)
