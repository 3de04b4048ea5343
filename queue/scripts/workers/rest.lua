-- Lets a worker of a queue in partitions rest: it makes no turns and blocks no move while nothing happens in the queue, which it
-- learns from client tracking (queue/changes.ts), and calls this again before its lease ends.
--
-- KEYS  1 queue  2 workers  3 worker  4 clock  5 load  6 suspects  7 delayed  8 paused  9 expiry  10 cancelled
-- ARGV  1 worker id  2 epoch  3 number of its last turn  4 lease, ms  5 how long until it calls again, ms
--       6 prefix of the keys of wake lists  7 maximum number of workers
-- Returns  {0} if it cannot rest, and nothing was changed: a turn shows why. Otherwise {1, ms until the next delayed task falls
--          due or -1, 1 if sweep.lua has work, or a report of a batch is to be delivered (batch/batches.lua), or 0}
--
-- Before: it listens to the queue, its delayed tasks, `load` and `leaving`, and no move of it is blocked.
-- After: there is no task in the queue but delayed ones that are not due: none waits, is in flight, set aside or moved to a worker,
-- dead or alive; and no lease has ended by the server's clock. So a death of a resting worker strands nothing, and no task waits
-- for queue time, which hardly advances while all rest. A task that comes is noticed by those who listen. Only then is
-- the lease longer than that of a turn, and the next turn, which takes the first task, shortens it again.
-- `rest` in the clock tells the sampler until when silence is to be expected: it holds as long as `at` is what it was.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lease, pause, most_workers = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7])

-- Whether there is no task but delayed ones, nobody to recover, and the worker is the one that it believes to be. Keys of another
-- type are the business of turns.
local function is_still()
  local epoch, turn, drain = unpack(redis.call('HMGET', KEYS[3], 'epoch', 'turn', 'drain'))
  if epoch ~= ARGV[2] or turn ~= ARGV[3] or (tonumber(drain) or 0) > now then return false end
  if redis.call('EXISTS', KEYS[1], KEYS[6], KEYS[8]) > 0 then return false end
  for _, held in ipairs(redis.call('HVALS', KEYS[5])) do
    if (tonumber(held) or 0) > 0 then return false end
  end
  local leases = redis.call('ZRANGE', KEYS[2], 0, most_workers, 'WITHSCORES')
  if #leases > 2 * most_workers then return false end
  local registered = false
  for i = 1, #leases, 2 do
    local id, deadline = leases[i], tonumber(leases[i + 1])
    if id == ARGV[1] then
      registered = deadline > 1
    elseif deadline <= now or deadline > now + 2 * lease then
      -- its lease ends as soon as queue time passes, or the clock was set back
      return false
    end
    if redis.call('EXISTS', ARGV[6] .. id) == 1 then return false end
  end
  return registered
end

local soonest = redis.pcall('ZRANGE', KEYS[7], 0, 0, 'WITHSCORES')
if soonest.err then return {0} end
local due_at = tonumber(soonest[2])
if due_at and due_at <= now then return {0} end
local done, still = pcall(is_still)
if not done or not still then return {0} end

-- Redis allows this command when memory is short, and with it the rest of the script
redis.call('HDEL', KEYS[3], '')
local ms, fresh = queue_time(KEYS[4], now)
if fresh then redis.call('HSET', KEYS[4], 'at', now, 'ms', ms) end
redis.call('HSET', KEYS[4], 'rest', redis.call('HGET', KEYS[4], 'at') .. ':' .. string.format('%.0f', now + 1.5 * pause))
-- the next turn renews the lease, however soon it is
redis.call('HSET', KEYS[3], 'till', ms + lease, 'renewed', 0)
redis.call('ZADD', KEYS[2], now + lease, ARGV[1])
local expired = 0
for _, key in ipairs({KEYS[9], KEYS[10]}) do
  local due = redis.pcall('ZCOUNT', key, '-inf', now)
  if type(due) == 'number' and due > 0 then expired = 1 end
end
if redis.call('EXISTS', string.sub(KEYS[4], 1, -6) .. 'batch-reports') == 1 then expired = 1 end
return {1, due_at and due_at - now or -1, expired}
