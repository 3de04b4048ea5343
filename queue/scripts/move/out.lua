-- Takes the next batch of a queue that is moved, and puts it into its hand: nobody else can take it from there, and it stays there
-- until the destination is known to have it.
--
-- KEYS  1 move  2 moving  3 the list, sorted set or hash of this kind  4 history  5 pasts
-- ARGV  1 the process, as in move/hold.lua  2 lease, ms  3 number of the batch that has arrived, or ''
--       4 kind: 'queue', 'suspects', 'delayed', 'dead' or 'stats'  5 maximum number of tasks, 0 to take none  6 bytes with which it ends
--       7 the highest number that the destination has seen
-- Returns  {0} if this process has no lease; else
--          {1, number, kind, Redis time in ms, tasks of that kind left behind, {item, …}}; number '' if there is nothing
-- Items: tasks as `past|bytes`, the past empty where there is none; of 'delayed' score and member, of 'stats' field and value, in turn;
-- the oldest first. A batch that has not arrived yet is returned again, of whatever kind it is. Numbers never repeat: they are
-- the time in microseconds, and above all that the destination has seen, so that a server that went back in time, whatever its clock
-- says now, gives no number twice.
local MOVE, MOVING, SOURCE, HISTORY, PASTS = unpack(KEYS)
local recall = pasts_of(HISTORY, PASTS).recall
local call = redis.call
local process, lease, arrived, kind, count, room = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local seen = tonumber(ARGV[7])
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local holder, number, of, last = unpack(call('HMGET', MOVE, 'holder', 'number', 'kind', 'last'))
if holder ~= process then return {0} end
-- fails here, before any write, if a key has another type
local size = { queue = 'LLEN', suspects = 'LLEN', dead = 'LLEN', delayed = 'ZCARD', stats = 'HLEN' }
local left = call(size[kind], SOURCE)
call('HLEN', HISTORY)
call('HLEN', PASTS)
-- Redis allows this when memory is short, and then the rest too
call('HDEL', MOVE, '')
call('HSET', MOVE, 'ends', string.format('%.0f', now + lease))
if number and number == arrived then
  call('DEL', MOVING)
  call('HDEL', MOVE, 'number', 'kind')
elseif number then
  return {1, number, of, now, left, call('LRANGE', MOVING, 0, -1)}
end
if left == 0 or count == 0 then return {1, '', kind, now, left, {}} end

local items, taken, largest = {}, 0, 1
local function collect(item)
  items[#items + 1] = item
  room = room - #item
  largest = math.max(largest, #item)
end

-- The size of a task is known only when it is in hand: one first, then as many as fit if they are no larger than those. A few at a
-- time, as the next ones may be a million times as large.
local MOST_AT_ONCE = 20
local function how_many()
  return math.max(1, math.min(4 * taken, MOST_AT_ONCE, count - taken, math.floor(room / largest)))
end

if kind == 'stats' then
  for _, value in ipairs(call('HGETALL', SOURCE)) do collect(value) end
  call('DEL', SOURCE)
  taken = left
elseif kind == 'delayed' then
  while room > 0 and taken < math.min(count, left) do
    local popped = call('ZPOPMIN', SOURCE, how_many())
    for i = 1, #popped, 2 do
      collect(popped[i + 1])
      collect(popped[i])
    end
    taken = taken + #popped / 2
  end
else
  local pasts = kind == 'queue' and call('EXISTS', HISTORY, PASTS) > 0
  while room > 0 and taken < math.min(count, left) do
    local popped = call('RPOP', SOURCE, how_many())
    for _, item in ipairs(popped) do
      collect(kind == 'queue' and (pasts and recall(item) or '') .. '|' .. item or item)
    end
    taken = taken + #popped
  end
end
for from = 1, #items, 1000 do
  call('RPUSH', MOVING, unpack(items, from, math.min(from + 999, #items)))
end
number = string.format('%.0f', math.max((tonumber(last) or 0) + 1, seen + 1, clock[1] * 1000000 + clock[2]))
call('HSET', MOVE, 'number', number, 'kind', kind, 'last', number)
return {1, number, kind, now, left - taken, items}
