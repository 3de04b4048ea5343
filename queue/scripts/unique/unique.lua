-- Unique tasks (docs/task-options.md), as the scripts see them that begin, end or requeue one. Joined in front of those scripts (lua.ts).
--
-- Who has a key is in `unique:KEY`, JSON: the task's `id`; `till` when the key is kept at least, ms, 0 for no longer than the task; the
-- `worker` and the `receipt` under which it was begun, if it was; `done` once the task has ended. push.lua writes it, too. It ends by itself:
-- a task that vanished (its queue was deleted) keeps its key for as long at most as a task may wait or run.
--
-- `base`: what the internal keys of the queue begin with.
local function uniques_of(base)
  local call = redis.call
  -- how long a task may wait, from its push on, and run, without losing its key, and the longest time that it may ask for, ms
  local WAITS, RUNS, LONGEST = 24 * 3600 * 1000, 7 * 24 * 3600 * 1000, 365 * 24 * 3600 * 1000
  local clock = call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

  local function name(key) return base .. 'unique:' .. key end

  -- nothing for what something else has written there
  local function lock_of(key)
    local text = redis.pcall('GET', name(key))
    local known, lock = pcall(cjson.decode, type(text) == 'string' and text or '')
    if not known or type(lock) ~= 'table' or type(lock.id) ~= 'string' then return nil end
    local till = tonumber(lock.till)
    lock.till = till and till > 0 and till <= now + LONGEST and till or 0
    return lock
  end

  local function write(key, lock, ms)
    call('SET', name(key), cjson.encode(lock), 'PX', string.format('%.0f', math.max(ms, lock.till - now)))
  end

  -- whether a worker has begun it under another receipt, and holds it
  local function runs_elsewhere(lock, receipt)
    return type(lock.receipt) == 'string' and lock.receipt ~= receipt and type(lock.worker) == 'string'
      and redis.pcall('HEXISTS', base .. 'inflight:' .. lock.worker, lock.receipt) == 1
  end

  local self = {}

  -- A worker is about to begin a task. Returns the id of the task that has the key, if that is another one; of two tasks with one id, the
  -- second one gets that.
  function self.claim(key, id, worker, receipt, for_ms)
    local lock = lock_of(key)
    if lock and (lock.id ~= id or lock.done or runs_elsewhere(lock, receipt)) then return lock.id end
    local till = lock and lock.till or for_ms > 0 and now + for_ms or 0
    write(key, {id = id, till = till, worker = worker, receipt = receipt}, RUNS)
  end

  -- A task has ended.
  function self.free(key, id, receipt)
    local lock = lock_of(key)
    if not lock or lock.id ~= id or lock.done or runs_elsewhere(lock, receipt) then return end
    if lock.till > now then write(key, {id = id, till = lock.till, done = true}, 1) else call('DEL', name(key)) end
  end

  -- A dead letter goes back to the queue.
  function self.again(key, id)
    local lock = lock_of(key)
    if not lock or lock.id == id then write(key, {id = id, till = lock and lock.till or 0}, WAITS) end
  end

  return self
end

