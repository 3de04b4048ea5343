-- Adds tasks to the queue, or to the delayed set, exactly once, however often a push arrives, on whatever connection and in
-- whatever order with other pushes of the same client. A client whose connection breaks before the reply sends the push again.
--
-- `pushes`, one hash per client, stores the numbers of the pushes that were made, except those up to `floor`, which all were.
-- The client raises the floor now and then, to the last push up to which all were answered.
--
-- KEYS  1 queue  2 delayed  3 result  4 errors  5 cancelled  6 pushes
-- ARGV  1 number of this push, from 1  2 floor: all pushes up to this one were answered  3 retention of `pushes` after the last
--       push, s  4 delay of the tasks, ms; empty for none  5 number of tasks  6 '1' to restart that retention
--       then their ids, then their bytes; with a delay, instead of the bytes the members of the delayed set
--       then, if some are unique, JSON: [[position from 1, key, how long it is kept at least, ms, or 0], …]; otherwise, if these go to the
--       list of a priority, `priorities` of its queue and the priority
-- Returns  1 if it was made now, 0 if it was made before, -1 if that priority is not served: then nothing was pushed; with unique tasks, JSON: for each task the id of the one that has its key and
--          for whose sake it was not pushed, or ""
--
-- What an earlier task of the same id left is deleted: result, error, cancel mark. If the script fails, nothing was pushed.
local number, floor, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[5])
local priorities, level = ARGV[7 + 2 * count], ARGV[8 + 2 * count]
local uniques = not level and priorities
if uniques then
  local told = redis.call('HGET', KEYS[6], number)
  if told then
    -- a write, as whoever waits for replicas waits for those of its connection; one that Redis allows when memory is short
    redis.call('EXPIRE', KEYS[6], ARGV[3])
    return told
  end
end
-- fails here, before any write, if the key that gets the tasks has another type
if ARGV[4] == '' then redis.call('LLEN', KEYS[1]) else redis.call('ZCARD', KEYS[2]) end
local stored = redis.call('HGET', KEYS[6], 'floor')
stored = stored and tonumber(stored)
local known = stored or floor
local function is_served() return redis.call('HEXISTS', KEYS[6], number) == 1 or redis.call('HGET', priorities, level) == 'open' end
if level and number > known and not is_served() then return -1 end
if number <= known or redis.call('HSET', KEYS[6], number, '') == 0 then return 0 end
if not stored then
  redis.call('HSET', KEYS[6], 'floor', floor)
elseif floor > stored then
  local done = {}
  local upTo = math.min(floor, stored + 1000)
  for i = stored + 1, upTo do done[#done + 1] = i end
  redis.call('HDEL', KEYS[6], unpack(done))
  redis.call('HSET', KEYS[6], 'floor', upTo)
end
-- not with each push: it would be one more command in the append-only file
if not stored or ARGV[6] == '1' then redis.call('EXPIRE', KEYS[6], ARGV[3]) end

local function time()
  local clock = redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end

-- Takes the keys of unique tasks, as unique.lua does. Returns for each task the id of the one that has its key already, or ''.
local function take_keys()
  local holders, now = {}, time()
  for i = 1, count do holders[i] = '' end
  for _, unique in ipairs(cjson.decode(uniques)) do
    local at, for_ms = unique[1], unique[3]
    local key = string.sub(KEYS[2], 1, -8) .. 'unique:' .. unique[2]
    local text = redis.pcall('GET', key)
    local known, lock = pcall(cjson.decode, type(text) == 'string' and text or '')
    if known and type(lock) == 'table' and type(lock.id) == 'string' then
      holders[at] = lock.id
    else
      local lasts = math.max(24 * 3600 * 1000 + (tonumber(ARGV[4]) or 0), for_ms)
      local mine = cjson.encode({id = ARGV[6 + at], till = for_ms > 0 and now + for_ms or 0})
      redis.call('SET', key, mine, 'PX', string.format('%.0f', lasts))
    end
  end
  return holders
end

local told, ids, raws
if uniques then
  local holders = take_keys()
  told, ids, raws = cjson.encode(holders), {}, {}
  redis.call('HSET', KEYS[6], number, told)
  for i = 1, count do
    if holders[i] == '' then ids[#ids + 1], raws[#raws + 1] = ARGV[6 + i], ARGV[6 + count + i] end
  end
  if #ids == 0 then return told end
end
local function all_ids() if ids then return unpack(ids) else return unpack(ARGV, 7, 6 + count) end end
local function all_raws() if raws then return unpack(raws) else return unpack(ARGV, 7 + count, 6 + 2 * count) end end

-- a result key of another type is reported by workers
for key, remove in pairs({ [KEYS[3]] = 'HDEL', [KEYS[4]] = 'HDEL', [KEYS[5]] = 'ZREM' }) do
  if redis.call('EXISTS', key) == 1 then redis.pcall(remove, key, all_ids()) end
end

if ARGV[4] == '' then
  redis.call('LPUSH', KEYS[1], all_raws())
else
  local due = time() + tonumber(ARGV[4])
  local members = {}
  for _, member in ipairs({all_raws()}) do
    members[#members + 1] = due
    members[#members + 1] = member
  end
  redis.call('ZADD', KEYS[2], unpack(members))
end
return told or 1
