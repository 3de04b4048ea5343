-- What the limits of a queue allow now, and soon: for samples, and for people. Read-only. Joined behind slots.lua.
--
-- Returns the definition, {field, value, …}, and
--          {tasks that may begin by the rate of the queue until the horizon, or -1 without one;
--           tasks that may be in flight, or -1 without such a limit; tasks that are held; keys of theirs whose first task may begin until
--           the horizon; when the first of the others may, or the queue's rate allows one more, ms of Redis time, or '';
--           of the tasks in the queue, about how many could begin until the horizon if the limits of keys were the only ones}
local function survey(base, LIMITS, QUEUE, now, horizon)
  -- tasks of the queue that are looked at, and bytes
  local MOST, ROOM = 500, 512 * 1024
  local slots = slots_of(base)
  local limits = slots.read_limits(LIMITS)
  local t = slots.limit_time(now)
  local soon, next_at = -1, nil
  if limits.interval then
    local tat = redis.call('HGET', slots.STATE, 'tat')
    local some, at, from = slots.allowance(tat, limits.interval, limits.burst, t)
    if some < 1 then next_at = at end
    -- what begins meanwhile makes room for more than a full bucket
    soon = math.floor((t + horizon + limits.burst * limits.interval - from) / limits.interval + 1e-6)
  end
  -- the number may be lost with the state; a slot that is left of a task that vanished is found only by a turn
  local keys_held = redis.call('ZCARD', slots.HELD)
  local held = keys_held > 0 and math.max(slots.number_of(redis.call('HGET', slots.STATE, 'held')), keys_held) or 0
  local idle, loads = true, redis.pcall('HVALS', base .. 'load')
  for _, n in ipairs(loads) do idle = idle and (tonumber(n) or 0) <= 0 end
  local ready, length = 0, redis.pcall('LLEN', QUEUE)
  if held > 0 then
    ready = redis.call('ZCOUNT', slots.DUE, '-inf', t + horizon)
    if idle and not limits.key_interval then ready = keys_held end
    local due = tonumber(redis.call('ZRANGEBYSCORE', slots.DUE, string.format('(%.17g', t), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
    if due and ready == 0 then next_at = math.min(next_at or due, due) end
  end

  -- how many tasks of this key could begin
  local room_of = {}
  local function room(key)
    if not room_of[key] then
      local n = math.huge
      if redis.call('ZSCORE', slots.HELD, key) then n = 0 end
      local running = idle and 0 or slots.number_of(redis.call('HGET', slots.RUNNING, key))
      if limits.key_concurrency then n = math.min(n, limits.key_concurrency - running) end
      if limits.key_interval then
        local tat = redis.pcall('GET', base .. 'limit-rate:' .. key)
        local _, _, from = slots.allowance(tat, limits.key_interval, limits.key_burst, t)
        n = math.min(n, math.floor((t + horizon + limits.key_burst * limits.key_interval - from) / limits.key_interval + 1e-6))
      end
      room_of[key] = math.max(0, n)
    end
    return room_of[key]
  end

  local could = type(length) == 'number' and length or 0
  if could > 0 and (limits.key_concurrency or limits.key_interval) then
    local seen, may, bytes, step = 0, 0, 0, 1
    while seen < math.min(MOST, length) and bytes < ROOM do
      local raws = redis.call('LRANGE', QUEUE, -seen - step, -seen - 1)
      for i = #raws, 1, -1 do
        local key = slots.task_key(limits.field, raws[i])
        bytes = bytes + #raws[i]
        if not key then may = may + 1
        elseif room(key) > 0 then
          room_of[key] = room_of[key] - 1
          may = may + 1
        end
      end
      seen = seen + #raws
      if #raws == 0 then break end
      step = bytes / seen < 4096 and math.min(64, 2 * step) or 1
    end
    could = math.ceil(length * may / math.max(1, seen))
  end
  local definition = {}
  -- those of definition.ts
  local FIELDS = {'by', 'at', 'rate', 'rateMs', 'burst', 'concurrency', 'field', 'keyRate', 'keyRateMs', 'keyBurst', 'keyConcurrency'}
  for i, value in ipairs(redis.call('HMGET', LIMITS, unpack(FIELDS))) do
    if value then
      definition[#definition + 1] = FIELDS[i]
      definition[#definition + 1] = string.sub(value, 1, 1024)
    end
  end
  return definition, {soon, limits.concurrency or -1, held, ready, next_at and math.ceil(now + next_at - t) or '', could}
end
