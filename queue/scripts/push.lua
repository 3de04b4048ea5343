-- Adds tasks to the queue, or to the delayed ones, once: however often one push arrives, on whatever connection and in
-- whatever order with others of the same client. A client whose connection breaks before the reply came sends it again.
--
-- Of each client, `pushes` keeps the numbers of its pushes that were made, and of all below `floor` only that. The client
-- knows of what it got replies to, and sends a new floor with a later push now and then.
--
-- KEYS  1 queue  2 delayed  3 result  4 errors  5 cancelled  6 pushes
-- ARGV  1 number of this push, from 1  2 all up to here are answered  3 how long `pushes` outlives the last push, s
--       4 how long the tasks are delayed, ms; empty for not at all  5 how many tasks
--       6 whether to count that time anew
--       then their ids, then their bytes; with a delay, what stands before the bytes in the delayed set and they as one
-- Returns  1 when it was made, 0 when it had been made before
--
-- What is left of an earlier task of the same id goes: its result, its error, a cancel. After an error of Redis nothing is
-- pushed.
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
-- one command more in each push would be one more in the append-only file
if not stored or ARGV[6] == '1' then redis.call('EXPIRE', KEYS[6], ARGV[3]) end

-- a result key of another type is the workers' to complain of
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
