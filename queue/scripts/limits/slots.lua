-- What a queue's limits keep beside it: the slots that tasks with a key have while they are in flight, and the tasks that are held
-- until their key may go on. Joined in front of the scripts that take tasks, put them back or count them (lua.ts).
--
-- base: prefix of the queue's keys. `limits` is the definition, as queue/limits/definition.ts writes it; the rest is here:
--   limit-state    HASH  `at`, `offset`: limit time; `tat`: the queue's bucket; `held`: tasks that are held in all; `woken`, `wokenDue`:
--                        when the last worker was told to come back; `checked`, `cursor`: the check of slots; `uncounted`,
--                        `unreturned`: what is still to be done for new limits (set.lua)
--   limit-rate:K   STRING  the bucket of a key, until it is full again
--   limit-slots    HASH  receipt|worker → key: tasks in flight that count for their key
--   limit-running  HASH  key → their number
--   held           ZSET  key → how many of its tasks are held
--   held-due       ZSET  key → when its first one may be tried, in limit time; without an entry, when one of its tasks has ended
--   held-tasks:K   LIST  past|task, the oldest on the right
-- A bucket is the time at which it will be full again (GCRA): a task that begins adds the interval of the rate to it, and may begin
-- while that is no more than `burst` intervals ahead.
local function slots_of(base)
  local call = redis.call
  local SLOTS, RUNNING, HELD, DUE, STATE = base .. 'limit-slots', base .. 'limit-running', base .. 'held', base .. 'held-due',
    base .. 'limit-state'
  -- a longer key is known by its digest; in a larger task none is looked for
  local LONGEST_KEY, LARGEST_TASK = 200, 1024 * 1024

  -- A number of tasks, or a time, as anyone may have written it: 0 for what is neither.
  local function number_of(text)
    local n = tonumber(text)
    return n and n >= 0 and n < 2 ^ 53 and n or 0
  end

  -- Limit time, ms: the server's clock, except that it never goes back: after a step back it goes on from where it was.
  local function limit_time(wall)
    local at, offset = unpack(call('HMGET', STATE, 'at', 'offset'))
    at, offset = tonumber(at), tonumber(offset) or 0
    if not (offset == offset and math.abs(offset) < 2 ^ 50) then offset = 0 end
    local t = wall + offset
    if at and at > t and at < 2 ^ 52 then t, offset = at, at - wall end
    return t, offset, at ~= nil
  end

  -- JSON in which halves of surrogate pairs, which cjson refuses, are the character that stands for what is none.
  local function without_halves(raw)
    local low_at
    return (string.gsub(raw, '()\\(.)(%x?%x?%x?%x?)()', function(at, kind, digits, next_at)
      if kind ~= 'u' or not string.find(digits, '^[dD][89a-fA-F]') then return nil end
      if string.find(digits, '^.[89abAB]') then
        if string.find(raw, '^\\u[dD][c-fC-F]%x%x', next_at) then
          low_at = next_at
          return nil
        end
      elseif at == low_at then return nil end
      return '\\ufffd'
    end))
  end

  -- The key of a task: the text or number in this field of a JSON object; nothing where it has none.
  local function task_key(field, raw)
    if #raw > LARGEST_TASK or not string.find(raw, '^%s*{') then return nil end
    -- a name may be spelled with escapes
    if not string.find(raw, '"' .. field .. '"', 1, true) and not string.find(raw, '\\', 1, true) then return nil end
    local read, task = pcall(cjson.decode, raw)
    if not read then read, task = pcall(cjson.decode, without_halves(raw)) end
    local key = read and type(task) == 'table' and task[field]
    if type(key) == 'number' then key = string.format('%.17g', key) end
    if type(key) ~= 'string' or key == '' then return nil end
    return #key > LONGEST_KEY and 'sha1:' .. redis.sha1hex(key) or key
  end

  -- Tasks of a key may be tried from now on, if some are held.
  local function ready(key, t)
    if call('ZSCORE', HELD, key) then call('ZADD', DUE, t, key) end
  end

  -- These tasks are in flight no more. `names`: receipt|worker.
  local function free(names, t)
    for from = 1, #names, 1000 do
      local to = math.min(from + 999, #names)
      local keys = call('HMGET', SLOTS, unpack(names, from, to))
      for i = from, to do
        local key = keys[i - from + 1]
        if key then
          call('HDEL', SLOTS, names[i])
          local left = redis.pcall('HINCRBY', RUNNING, key, -1)
          if type(left) ~= 'number' or left <= 0 then call('HDEL', RUNNING, key) end
          ready(key, t)
        end
      end
    end
  end

  -- Puts a task that was taken back in front of the others of its key, if some are held. Returns whether it did.
  local function hold_first(key, raw, past, t)
    if not key or not call('ZSCORE', HELD, key) then return false end
    -- of another type
    if type(redis.pcall('RPUSH', base .. 'held-tasks:' .. key, (past or '') .. '|' .. raw)) ~= 'number' then return false end
    call('ZADD', HELD, number_of(call('ZSCORE', HELD, key)) + 1, key)
    call('HINCRBY', STATE, 'held', 1)
    call('ZADD', DUE, t, key)
    return true
  end

  -- All held tasks may be tried at `t`.
  local function ready_all(t)
    local keys = call('ZRANGE', HELD, 0, -1)
    for from = 1, #keys, 1000 do
      local due = {}
      for i = from, math.min(from + 999, #keys) do
        due[#due + 1] = t
        due[#due + 1] = keys[i]
      end
      call('ZADD', DUE, unpack(due))
    end
  end

  -- Tasks that may begin by a bucket at time `t`, and when the next one may where none may now.
  local function allowance(tat, interval, burst, t)
    local full = t + burst * interval
    local at = tonumber(tat)
    local from = at and at > t and math.min(at, full) or t
    return math.floor((full - from) / interval + 1e-6), from + interval - burst * interval, from
  end

  -- The definition: numbers where they are sound, else nothing.
  local function read_limits(LIMITS)
    local d = call('HMGET', LIMITS, 'rate', 'rateMs', 'burst', 'concurrency', 'field', 'keyRate', 'keyRateMs', 'keyBurst',
      'keyConcurrency')
    local function positive(text)
      local value = tonumber(text)
      return value and value > 0 and value < 2 ^ 53 and value or nil
    end
    local function interval(rate, ms) return positive(rate) and positive(ms) and ms / rate end
    local limits = {interval = interval(d[1], d[2]), burst = positive(d[3]) or 1, concurrency = positive(d[4]), field = d[5] or nil}
    if limits.field then
      limits.key_interval, limits.key_burst, limits.key_concurrency = interval(d[6], d[7]), positive(d[8]) or 1, positive(d[9])
    end
    return limits
  end

  return {SLOTS = SLOTS, RUNNING = RUNNING, HELD = HELD, DUE = DUE, STATE = STATE, limit_time = limit_time, task_key = task_key,
    number_of = number_of, ready = ready, ready_all = ready_all, free = free, hold_first = hold_first, allowance = allowance, read_limits = read_limits}
end
