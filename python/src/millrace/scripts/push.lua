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
-- Returns  1 if it was made now, 0 if it was made before
--
-- What an earlier task of the same id left is deleted: result, error, cancel mark. If the script fails, nothing was pushed.
local number, floor, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[5])
local stored = redis.call('HGET', KEYS[6], 'floor')
stored = stored and tonumber(stored)
local known = stored or floor
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

-- a result key of another type is reported by workers
for key, remove in pairs({ [KEYS[3]] = 'HDEL', [KEYS[4]] = 'HDEL', [KEYS[5]] = 'ZREM' }) do
  if redis.call('EXISTS', key) == 1 then redis.pcall(remove, key, unpack(ARGV, 7, 6 + count)) end
end

if ARGV[4] == '' then
  redis.call('LPUSH', KEYS[1], unpack(ARGV, 7 + count, 6 + 2 * count))
else
  local clock = redis.call('TIME')
  local due = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[4])
  local members = {}
  for i = 7 + count, 6 + 2 * count do
    members[#members + 1] = due
    members[#members + 1] = ARGV[i]
  end
  redis.call('ZADD', KEYS[2], unpack(members))
end
return 1
