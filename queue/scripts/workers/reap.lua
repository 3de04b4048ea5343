-- Ends a worker's epoch and puts its tasks back at the front of the queue, in the order in which they were taken.
--
-- KEYS  1 queue  2 workers  3 worker  4 inflight  5 carried  6 wake  7 stats  8 history  9 load  10 progress
--       11 isolator  12 pasts  13 emptying  14 apart  15 clock  16 limits  17 answers (once.lua)
-- ARGV  1 worker id
--       2 condition: 'expired' (only if its lease has expired), 'any', or an epoch (only that one)
--       3 reason: 'lost' (each task counts a delivery and is a suspect from now on, see turn/suspects.lua);
--         'displaced' (the worker was removed, which is no task's fault); 'silent' (its lease expired and nobody saw it die: it
--         may be alive, but cut off or frozen. Its tasks count as displaced, except that the 20th such end of a task in a row
--         counts as a loss: where no deaths are reported, this finds tasks that freeze or kill their worker);
--         'leave' (it said goodbye)
--       4 how long a blocking move of the worker may still be pending in Redis, ms; 0 if there is none
--       5 number of the request (once.lua)
-- Returns  {tasks put back, or -1 if the worker does not meet the condition; tasks that it still holds}
-- A worker that held more than 512 tasks or a few MB is emptied in several calls, each of a few ms. The first one ends its
-- epoch; the next ones, mostly of the same caller and with the epoch 0, continue.
-- For the time of ARGV[4] the worker's hash remains as an empty grave: a pending move may still put a task into the wake list,
-- where the next reaper finds it.
local ROOM = 2 * 1024 * 1024
-- added to the size of each task, bytes
local OVERHEAD = 4096
local HISTORY, PASTS = KEYS[8], KEYS[12]
local remember = pasts_of(HISTORY, PASTS).remember
local SILENCES = 20
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local epoch, till = unpack(redis.call('HMGET', KEYS[3], 'epoch', 'till'))
local deadline = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]))
if not epoch and not deadline then return {-1, 0} end
local ms = queue_time(KEYS[15], now)
till = tonumber(till)
if ARGV[2] == 'expired' then
  if deadline and not is_over(deadline, till, now, ms) then return {-1, 0} end
elseif ARGV[2] ~= 'any' and ARGV[2] ~= epoch then
  return {-1, 0}
end

-- fails here, before any write, if a key has another type
redis.call('LLEN', KEYS[1])
redis.call('HLEN', HISTORY)
redis.call('HLEN', PASTS)

-- a call that continues an earlier one uses its reason, number of tasks lost together, and lifetime of the grave
local begun = redis.call('HMGET', KEYS[3], 'moving', 'company', 'ended', 'grave')
local moving = begun[1] == '1'
local why = moving and begun[3] or ARGV[3]
local grave = tonumber(moving and begun[4] or ARGV[4])
-- earlier versions counted epochs from 1, and the end of a lease was a death
local before = epoch and tonumber(epoch) < 1e12 and not moving
local lost = why == 'lost' or (why == 'silent' and before)
local silent = why == 'silent' and not before
local goodbye = why == 'leave'
-- percent-encoded, as some characters have a meaning in a past
local name = string.gsub(ARGV[1], '[^%w%-._~]', function(c) return string.format('%%%02X', string.byte(c)) end)
-- where something else overwrote the tasks in flight, there are none
local receipts = redis.pcall('HKEYS', KEYS[4])
if receipts.err then receipts = {} end
-- sorts numbers, as a comparison function in Lua would cost more than everything else
local counters, of_counter = {}, {}
for i, receipt in ipairs(receipts) do
  local counter = tonumber(string.match(receipt, '%-(%d+)$')) or 0
  counters[i] = counter
  local same = of_counter[counter]
  if same then same[#same + 1] = receipt else of_counter[counter] = {receipt} end
end
table.sort(counters)
for i = #counters, 1, -1 do receipts[#counters + 1 - i] = table.remove(of_counter[counters[i]]) end
-- number of tasks lost together, those of its other queues counted as one: used to narrow down suspects (turn/suspects.lua)
local elsewhere = tonumber(redis.call('HGET', KEYS[3], 'elsewhere')) or 0
local together = moving and tonumber(begun[2]) or #receipts + math.min(elsewhere, 1)
local company = together > 1 and ':' .. together or ''

-- tasks that a blocking move took: one, rarely two. RPOP is the first write, because Redis allows it when memory is short, and
-- with it the rest of the script
local woken = {}
repeat
  local raw = redis.pcall('RPOP', KEYS[6])
  if type(raw) == 'table' then break end
  woken[#woken + 1] = raw or nil
until not raw
for i = #woken, 1, -1 do redis.call('RPUSH', KEYS[1], woken[i]) end
local moved, room = 0, ROOM
-- of a queue with limits, tasks that others of their key wait for go in front of those
local slots, field, t, names = nil, nil, nil, {}
if redis.call('EXISTS', KEYS[16]) == 1 then
  slots = slots_of(string.sub(KEYS[7], 1, -6))
  field, t = redis.call('HGET', KEYS[16], 'field'), slots.limit_time(now)
end
for _, receipt in ipairs(receipts) do
  if room <= 0 then break end
  local raw = redis.call('HGET', KEYS[4], receipt)
  local past = redis.pcall('HGET', KEYS[5], receipt)
  if type(past) == 'table' then past = nil end
  if lost or silent then
    local attempts, deliveries, last, silences =
      string.match(past or '0:0', '^(%d+):(%d+):?([^:]*:?%d*):?(%d*)$')
    -- what something else wrote in place of a past counts as none
    if not attempts then attempts, deliveries, last = 0, 0, '' end
    silences = silent and (tonumber(silences) or 0) + 1 or 0
    if lost or silences >= SILENCES then deliveries, last = deliveries + 1, name .. company end
    past = attempts .. ':' .. deliveries .. ':' .. last
    -- behind the last worker and the number of tasks lost with it
    if silent then past = past .. (string.find(last, ':', 1, true) and ':' or '::') .. silences end
  end
  if not (field and slots.hold_first(slots.task_key(field, raw), raw, past, t)) then
    if past then remember(raw, past) end
    redis.call('RPUSH', KEYS[1], raw)
  end
  redis.call('HDEL', KEYS[4], receipt)
  names[#names + 1] = receipt .. '|' .. ARGV[1]
  moved, room = moved + 1, room - #raw - OVERHEAD
end
if slots then slots.free(names, t) end
if moved > 0 then
  tally(KEYS[7], 'taken', -moved)
  if not goodbye then tally(KEYS[7], 'recovered', moved) end
end
redis.call('DEL', KEYS[10])
-- a key of another type must not keep the worker from going
redis.pcall('ZREM', KEYS[13], ARGV[1])
redis.pcall('HDEL', KEYS[14], ARGV[1])
if redis.pcall('GET', KEYS[11]) == ARGV[1] then redis.call('DEL', KEYS[11]) end

local alive = epoch and epoch ~= '0'
if alive and not goodbye then tally(KEYS[7], 'fenced', 1) end
local rest = #receipts - moved
if rest > 0 then
  redis.pcall('HSET', KEYS[9], ARGV[1], rest)
  redis.call('HSET', KEYS[3], 'epoch', 0, 'state', 'lost', 'ended', lost and 'lost' or why, 'moving', 1, 'company', together,
    'grave', grave, 'till', ms + grave)
  -- in case that nobody continues
  redis.call('ZADD', KEYS[2], now + grave, ARGV[1])
  return answer({moved + #woken, rest})
end
redis.call('DEL', KEYS[4], KEYS[5], KEYS[6])
redis.pcall('HDEL', KEYS[9], ARGV[1])
if (alive or moving) and grave > 0 then
  redis.call('HSET', KEYS[3], 'epoch', 0, 'state', 'lost', 'ended', why, 'till', ms + grave)
  if moving then redis.call('HDEL', KEYS[3], 'moving', 'company', 'grave') end
  redis.call('ZADD', KEYS[2], now + grave, ARGV[1])
else
  redis.call('DEL', KEYS[3])
  redis.call('ZREM', KEYS[2], ARGV[1])
end
-- the next worker starts a new clock
if redis.call('ZCARD', KEYS[2]) == 0 then redis.call('DEL', KEYS[15]) end
return answer({moved + #woken, 0})
