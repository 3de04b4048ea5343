-- One turn of a worker: settle what finished, take what comes next, renew the lease. All or nothing, in one round trip.
-- The script is this file behind those of ../shared that it needs, and before ../batch/numbered.lua, ../batch/batches.lua, ../unique/unique.lua,
-- ../limits/slots.lua, limits.lua, checks.lua, parts.lua, rare.lua, suspects.lua and main.lua, joined in this order (lua.ts): read main.lua from its
-- end, which is the turn in its order, and the others where it calls them.
--
-- KEYS  1 queue  2 result  3 workers  4 worker  5 inflight  6 carried  7 wake  8 delayed  9 dead  10 errors
--       11 stats  12 history  13 load  14 paused  15 cancelled  16 expiry
--       17 suspects  18 isolator  19 pasts  20 emptying  21 apart  22 clock  23 limits
-- ARGV  1 the request, packed as one MessagePack object (queue/workers/pack.ts); each part with a default may be left out:
--         worker, epoch   texts
--         number          of the turn, one more than the last one's unless this repeats it
--         form            of what is settled: 0 by default, another number where that differs from what was sent before
--                         under the same number of a turn
--         seen            highest receipt counter that the worker has seen
--         heard           when the last turn was made whose reply it received, 0 before the first; none by default
--         holds           how many tasks it holds, those that it settles here included; unknown by default
--         want            how many tasks it takes; a turn takes 1000 at most
--         elsewhere       tasks of its other queues that it holds; 0 by default
--         together        suspects that it may take together, 0 while it must not take any; 1 by default
--         emptyIn         ms until it will hold nothing, by its estimate; 0 by default
--         leaseMs, state
--         serviceUs       service time of the settled tasks in all
--         squaresMs2      sum of the squares of those service times, where the worker measured them
--         slow            {bucket, …} of the slow ones among them (pool/slow-tasks.ts); none by default, as in the lists
--                         that follow the results
--         receipts        {receipt, …} of the results
--         results         {id, value, …}
--         stored          they are in a hash on another server already (store.lua), and the values here are empty
--         retries         {{receipt, delayMs, past = "attempts:deliveries"}, …}
--         dead            {{receipt, id, header = JSON, expired, unique}, …}; without an id, no waiting client is told; `expired`: it was
--                         not run; `unique`: the key that it has
--         released        {receipt, …}
--         unbegun         {receipt, …} of all these: those that were taken and not begun, and so have used nothing of a rate
--         cancelled       {{receipt, id, header = JSON, unique, duplicate}, …}; `duplicate`: it was not cancelled, but another one has its
--                         key; without a header, that one has its id, too
--         unique          {{receipt, id, key}, …} of results: the keys that they had
--         parts           batches that some of these are parts of: {{id, size, policy, then, thenId, thenBatch, thenSize, thenOuter, dead,
--                         cancelled, spawned, results, numbers, named}, …}; all but the id may be left out (queue/batch-mark.ts). `thenOuter`:
--                         packed, what `then` says of the batch that it is a part of. `dead`, `cancelled` and
--                         `spawned` are positions in the lists above and below, from 1; `results` and `named` are runs of such positions:
--                         where each begins, and its length. `numbers`: of the results whose ids are BATCH:NUMBER, runs of these numbers,
--                         ascending; `named`: the others, where there are some of both
--         spawned         {{result = position, ids, raws}, …}: tasks that are added with a result
--         resultName      name of the result hash for people, where it is on another server
--         unseen          the tasks that it takes are not returned, only how many they are
--       2… long ids, values and headers, each as it is: where one of these is a number, it is the one in that argument
-- Returns  {0} when the worker is fenced, and nothing was done: it has no lease of this epoch, or this server does not
--           know the worker as it knows itself (below); else
--          {1, Redis time in ms, length of the queue or an error in words, orders (0: none, 1: drain, 2: the queue is
--           paused), counter of the first task,
--           {task, …}, or many short ones packed as one MessagePack array,
--           {index, past, …} for the tasks that have one (parsePast in workers/turn.ts),
--           ms until the next delayed task falls due, or this worker may try again what limits hold back; or -1,
--           0 when no task is marked as cancelled, else a number that changes with every mark,
--           1 when the worker is given nothing more until it holds nothing,
--           Redis time in ms when this turn was made, which is earlier where this is its repetition,
--           suspects that wait aside,
--           the form that was done: of a repeated turn, the one that was sent first,
--           of a queue with limits: 1, or 2 while tasks wait that may not begin for the limits of the queue, or 3 while tasks that were
--           held may begin, which the length of the queue does not show; of others 0,
--           number of batches of which another partition is to be told. The last two may be missing}
-- The worker's hash may hold the policies of its pool: resultTtl (ms), deadMax, deadMaxAge (ms) and maxDeliveries.
--
-- Before: every task of this worker is in its in-flight hash (or in its wake list). After: each settled task is gone
-- from there and is in exactly one of result, delayed, dead or queue, or was cancelled and is in errors; each returned
-- task is in flight with a receipt, `<last five digits of the epoch>-<counter>`. Repeating a turn after a lost reply
-- changes nothing more and returns the same tasks again.
-- A turn older than the last one (a packet that was delayed on its way) is refused, and so is one that would have to
-- write to a key of another type: then only the lease is renewed, so that what the worker holds stays there until
-- the key is right, and is not run by one worker after the other meanwhile.
-- A server may go back: a failover to a replica that lags, a restart from an older snapshot. Then it knows less of a
-- worker than the worker does, and would take its next turn for another one. So a turn is fenced unless the server's
-- last turn is the one that the worker saw answered, or this very turn, and unless exactly the tasks are in flight that
-- the worker holds. A new epoch begins from what the server has; what is in flight there goes back to the queue.
-- Parts of batches are counted in the same step that settles them, by id (batches.lua). A part that cannot belong to its batch (another
-- size than other parts name, one more than the batch has) becomes a dead letter that says so.
-- Cancelled: whoever was first wins. A result or a dead letter takes the mark away; a task that is settled as cancelled
-- and has no mark any more (it was enqueued again) goes back to the queue.
--
-- What a turn moves is bounded in bytes as well as in number, because Redis does nothing else meanwhile, and what Lua holds
-- counts as its memory: it ends with the task that reaches the bound. The size of a task is only known when it is in hand, so
-- they are taken one by one where large ones were seen lately, or nothing is known yet, else a few and then more at a time.
local QUEUE, RESULT, WORKERS, WORKER, INFLIGHT, CARRIED, WAKE, DELAYED, DEAD, ERRORS, STATS, HISTORY, LOAD, PAUSED,
  CANCELLED, EXPIRY, SUSPECTS, ISOLATOR, PASTS, EMPTYING, APART, CLOCK, LIMITS = unpack(KEYS)
local call = redis.call
-- bytes that a turn takes: some ms of Redis
local ROOM = 4 * 1024 * 1024
-- a task of more bytes is large; for so many turns after the last one, and at first, tasks are taken one by one
local LARGE = 64 * 1024
local CAREFUL, FIRST = 1000, 16
-- from so many tasks on, they are packed in the reply unless they have more bytes in all: a worker reads one text much faster than many
local PACKED, PACKED_BYTES = 32, 256 * 1024
local turn = cmsgpack.unpack(ARGV[1])
-- the receipts of an epoch begin with this; they are short because Redis handles each of them five times
local prefix = string.sub(turn.epoch, -5) .. '-'
-- what a turn has none of is left out
local none = {}
local retries, dead, released, cancelled = turn.retries or none, turn.dead or none, turn.released or none,
  turn.cancelled or none
-- what is known of the turn and has been done in it so far; `admit` begins it
local s

-- one command for many values: Lua's stack does not hold all of them at once. Returns the sum of its replies.
local function slices(command, key, values, first)
  local sum, size = 0, 2000
  for from = first or 1, #values, size do
    sum = sum + call(command, key, unpack(values, from, math.min(from + size - 1, #values)))
  end
  return sum
end

-- an id, a value or a header: itself, or the argument that holds it
local function bytes(value)
  return type(value) == 'number' and ARGV[value] or value
end

-- a sum that was read back, 0 where it is none
local function sum_of(text, below)
  local sum = tonumber(text)
  return sum and sum >= 0 and sum < below and sum or 0
end

-- why a key cannot be used, by the reply to a command that reads its size; nothing where it can
local function misfit(size, key)
  return type(size) == 'table' and size.err and string.format('%s (the key is "%s")', size.err, key) or nil
end

-- Nothing is taken for this reason, which the reply tells.
local function take_nothing(why)
  s.broken, s.want = s.broken or why, 0
end

local function saw(size)
  if size > LARGE then s.last_large = turn.number end
end

-- tasks that are taken in one command, after so many in this turn
local function step(taken)
  if turn.number - s.last_large < CAREFUL then return 1 end
  return math.max(4, math.min(taken, 32))
end
