-- Puts a batch of a queue that is moved (move/out.lua) into its new place, once, however often it is sent.
--
-- KEYS  1 arrivals  2 queue  3 delayed  4 dead  5 stats  6 history  7 pasts
-- ARGV  1 id of the move  2 number of the batch  3 kind  4 '1' for tasks of the backlog
--       5 keys of unique tasks among them, JSON: [[key, id, until when it is kept at least or 0, ms until it ends], …], or ''
--       6 … items, as in move/out.lua
-- Returns  1; 0 if the batch was here before; -1 if this place does not know the move, and nothing was changed
-- Tasks of the backlog are older than what clients have pushed here meanwhile: they go between that and what was moved before,
-- unless more than a thousand tasks, or 1 MiB, were pushed here. Then, and if they are no backlog, they arrive like any push.
local ARRIVALS, QUEUE, DELAYED, DEAD, STATS, HISTORY, PASTS = unpack(KEYS)
local pasts = pasts_of(HISTORY, PASTS)
local id, number, kind, backlog = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local last = tonumber(redis.call('HGET', ARRIVALS, id))
if not last then return -1 end
if tonumber(number) <= last then return 0 end
-- fails here, before any write, if a key has another type
local waiting = redis.call('LLEN', QUEUE)
redis.call('LLEN', DEAD)
redis.call('ZCARD', DELAYED)
redis.call('HLEN', STATS)
redis.call('HLEN', HISTORY)
redis.call('HLEN', PASTS)

local NEWEST = 'newest:' .. id
local MOST_NEWER, MOST_BYTES = 1000, 1024 * 1024

-- The number of tasks at the left end that were pushed here since the last one of this move came; 0 where they are too many.
local function tasks_pushed_here()
  local newest = redis.call('HGET', ARRIVALS, NEWEST)
  local at = newest and redis.call('LPOS', QUEUE, newest, 'MAXLEN', MOST_NEWER + 1)
  -- workers have taken all that was moved
  return at or (waiting <= MOST_NEWER and waiting or 0)
end

-- Takes so many tasks from the left end, to be pushed there again; none if they are too large.
local function set_aside(count)
  local taken, bytes = {}, 0
  while #taken < count and bytes <= MOST_BYTES do
    local task = redis.call('LPOP', QUEUE)
    table.insert(taken, 1, task)
    bytes = bytes + #task
  end
  if #taken == count then return taken end
  in_parts('LPUSH', QUEUE, taken)
  return {}
end

if kind == 'delayed' then
  in_parts('ZADD', DELAYED, ARGV, 6)
elseif kind == 'dead' then
  in_parts('LPUSH', DEAD, ARGV, 6)
elseif kind == 'stats' then
  for i = 6, #ARGV, 2 do
    local field, by = ARGV[i], ARGV[i + 1]
    -- what is no number on either side was written by something else
    redis.pcall(string.find(by, '^-?%d+$') and 'HINCRBY' or 'HINCRBYFLOAT', STATS, field, by)
  end
else
  local tasks = {}
  for i = 6, #ARGV do
    local past, at = string.match(ARGV[i], '^([^|]*)|()')
    past = pasts.sound(past)
    -- what something else put among the suspects is a task as it is
    local raw = string.sub(ARGV[i], (past or kind == 'queue') and at or 1)
    if past then pasts.remember(raw, past) end
    tasks[#tasks + 1] = raw
  end
  local newer = backlog and tasks_pushed_here() or 0
  if newer == waiting then
    local newest_first = {}
    for i = #tasks, 1, -1 do newest_first[#newest_first + 1] = tasks[i] end
    in_parts('RPUSH', QUEUE, newest_first)
  else
    local aside = set_aside(newer)
    in_parts('LPUSH', QUEUE, tasks)
    in_parts('LPUSH', QUEUE, aside)
  end
  if backlog then redis.call('HSET', ARRIVALS, NEWEST, tasks[#tasks]) end
end
-- those that have begun here meanwhile win: a worker tells when it begins the task
for _, one in ipairs(ARGV[5] ~= '' and cjson.decode(ARGV[5]) or {}) do
  local name = string.sub(ARRIVALS, 1, -9) .. 'unique:' .. one[1]
  redis.call('SET', name, cjson.encode({id = one[2], till = one[3]}), 'PX', string.format('%.0f', math.max(1, one[4])), 'NX')
end
redis.call('HSET', ARRIVALS, id, number)
return 1
