-- Puts the batch in the hand of a move that is abandoned back to where it was taken from, and ends the move.
--
-- KEYS  1 move  2 moving  3 the list, sorted set or hash of the batch's kind  4 history  5 pasts  6 answers
-- ARGV  1 the process, as in move/hold.lua  2 number of the batch, or '' if none is in hand
--       3 … positions in the batch, from 1, of what the destination has
--       then the request, as in shared/once.lua
-- Returns  {0} if this process has no lease, or another batch is in hand; else {1, number of items that are back}
-- After: tasks are at the end from which they were taken, in their order, each with its past. Nothing of the move is left here.
local MOVE, MOVING, TARGET, HISTORY, PASTS = unpack(KEYS)
local remember = pasts_of(HISTORY, PASTS).remember
local process, batch = ARGV[1], ARGV[2]
local holder, number, kind = unpack(redis.call('HMGET', MOVE, 'holder', 'number', 'kind'))
if holder ~= process or (number or '') ~= batch then return {0} end
-- fails here, before any write, if a key has another type
local size = { queue = 'LLEN', suspects = 'LLEN', dead = 'LLEN', delayed = 'ZCARD', stats = 'HLEN' }
if kind then redis.call(size[kind], TARGET) end
redis.call('HLEN', HISTORY)
redis.call('HLEN', PASTS)
-- Redis allows this when memory is short, and then the rest too
redis.call('HDEL', MOVE, '')

-- Counters that describe what waits here are set, not added up: what has begun since is newer.
local LOCAL = { asideSince = true, asideAlone = true, marks = true }
local function count(field, by)
  if LOCAL[field] then return redis.call('HSETNX', TARGET, field, by) end
  -- what is no number on either side was written by something else
  redis.pcall(string.find(by, '^-?%d+$') and 'HINCRBY' or 'HINCRBYFLOAT', TARGET, field, by)
end

-- Without its past, which is stored apart.
local function task_of(item)
  local past, at = string.match(item, '^([^|]*)|()')
  local raw = string.sub(item, at or 1)
  if past and past ~= '' then remember(raw, past) end
  return raw
end

local arrived = {}
for i = 3, #ARGV - 1 do arrived[tonumber(ARGV[i])] = true end
local width = (kind == 'delayed' or kind == 'stats') and 2 or 1
local items = number and redis.call('LRANGE', MOVING, 0, -1) or {}
-- the newest first: the oldest is to be the last one in its list, and the first one to get a past that several have
local back = {}
for i = #items - width + 1, 1, -width do
  if not arrived[(i - 1) / width + 1] then
    back[#back + 1] = kind == 'queue' and task_of(items[i]) or items[i]
    if width == 2 then back[#back + 1] = items[i + 1] end
  end
end
if kind == 'delayed' then
  in_parts('ZADD', TARGET, back)
elseif kind == 'stats' then
  for i = 1, #back, 2 do count(back[i], back[i + 1]) end
elseif kind then
  in_parts('RPUSH', TARGET, back)
end
redis.call('DEL', MOVE, MOVING)
return answer({1, #back / width})
