-- Takes the task that a worker's blocking move has just put into its wake list. It is sent together with that move, and Redis runs it as
-- soon as the move has ended: so the reply to the move is followed by the task in flight, and its handler begins a round trip earlier than
-- by a turn.
--
-- KEYS  1 queue  2 result  3 worker  4 inflight  5 wake  6 stats  7 load
--       8 paused  9 carried  10 cancelled  11 history  12 pasts  13 suspects  14 limits
-- ARGV  1 worker id  2 epoch, as the worker knew them when the move was sent: 3 the number of its last turn  4 when that was made
--       5 the highest receipt counter that it had seen
-- Returns  {receipt counter, task, tasks that are left in the queue or the wake list}; or nothing, and nothing was done: there is no task, or
--           the next turn has to decide about it; or -1: this server does not know the worker, and what was moved is in the queue again.
--
-- Before: the task is in the wake list. After: it is in flight with a receipt, as if the worker's last turn had taken it. A turn that has not
-- seen that receipt returns the task once more, so this reply may be lost. No turn is made: neither its number nor its time change, and
-- what else a turn does is left to the next one.
-- Whatever is seldom there is left to turns: a pause, limits, cancelled tasks, tasks with a past, a drain, a key of another type. The move may
-- have been blocked for seconds, in which turns were made. So the server must know at least the turns and receipts that the worker knew: a
-- server that went back in time does not, and an epoch that was ended in between is another one.
local QUEUE, RESULT, WORKER, INFLIGHT, WAKE, STATS, LOAD = unpack(KEYS)
local LARGE = 64 * 1024
local woken = redis.pcall('LLEN', WAKE)
if type(woken) ~= 'number' or woken == 0 then return false end

local epoch, turn, seq, at, state, drain, alone =
  unpack(redis.call('HMGET', WORKER, 'epoch', 'turn', 'seq', 'at', 'state', 'drain', 'alone'))
-- A server that took over, or has lost its data, may not know a worker that waits in it, whose turns may go to another one. Nobody would ever
-- look into its wake list.
if not epoch and redis.call('EXISTS', WORKER) == 0 then
  if type(redis.pcall('LLEN', QUEUE)) ~= 'number' then return -1 end
  local tasks = {}
  -- the first write: Redis allows it when memory is short, and with it the rest of the script
  for i = 1, woken do tasks[i] = redis.call('RPOP', WAKE) end
  for i = woken, 1, -1 do redis.call('RPUSH', QUEUE, tasks[i]) end
  return -1
end
local known, seen = tonumber(ARGV[3]), tonumber(ARGV[5])
turn, seq = tonumber(turn), tonumber(seq)
if epoch ~= ARGV[2] or not turn or not seq then return false end
if turn < known or turn == known and tonumber(at) ~= tonumber(ARGV[4]) or seq < seen then return false end
-- an order to drain that nobody has repeated has expired
if drain then
  local clock = redis.call('TIME')
  if (tonumber(drain) or 0) > clock[1] * 1000 + math.floor(clock[2] / 1000) then return false end
end
if alone == '1' or state and string.find(state, '^drain') then return false end
if redis.call('EXISTS', unpack(KEYS, 8, 14)) > 0 then return false end
local waiting, in_hand = redis.pcall('LLEN', QUEUE), redis.pcall('HLEN', INFLIGHT)
if type(waiting) ~= 'number' or type(in_hand) ~= 'number' then return false end
if type(redis.pcall('HLEN', RESULT)) ~= 'number' then return false end

-- the first write: Redis allows it when memory is short, and with it the rest of the script
local raw = redis.call('RPOP', WAKE)
seq = seq + 1
-- the receipts of an epoch begin with its last digits: see turn.lua
redis.call('HSET', INFLIGHT, string.sub(epoch, -5) .. '-' .. string.format('%.0f', seq), raw)
redis.call('HSET', WORKER, 'seq', string.format('%.0f', seq), 'state', 'busy')
-- the turns that follow take tasks one by one: see turn.lua
if #raw > LARGE then redis.call('HSET', WORKER, 'large', turn) end
redis.pcall('HSET', LOAD, ARGV[1], in_hand + 1)
tally(STATS, 'taken', 1)
return {seq, raw, waiting + woken - 1}
