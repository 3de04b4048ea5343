-- Finds tasks that may have a certain id: in flight, delayed or waiting, of these a limited number from both ends of the list.
--
-- KEYS  1 queue  2 delayed  3 load
-- ARGV  1 text that the task contains  2 prefix of the keys of workers' tasks in flight  3 maximum number of tasks to look at in each place
--       4 maximum number of bytes to look at in all
-- Returns  {task, …}, ten at most; of a delayed task the member of its set. The caller reads their ids.
-- Read-only. A key of another type counts as empty.
local text, most, left = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local found = {}

local function look(tasks)
  if tasks.err then return end
  for _, raw in ipairs(tasks) do
    left = left - #raw
    if left < 0 or #found == 10 then return end
    if string.find(raw, text, 1, true) then found[#found + 1] = raw end
  end
end

local workers = redis.pcall('HKEYS', KEYS[3])
for i = 1, workers.err and 0 or math.min(#workers, most) do look(redis.pcall('HVALS', ARGV[2] .. workers[i])) end
look(redis.pcall('ZRANGE', KEYS[2], 0, most - 1))
-- a few at a time: the size of a task is known only when it is read
local length = redis.pcall('LLEN', KEYS[1])
if type(length) ~= 'number' then return found end
local half = math.floor(most / 2)
local ranges = length <= most and {{0, length - 1}} or {{0, half - 1}, {length - half, length - 1}}
for _, range in ipairs(ranges) do
  for from = range[1], range[2], 16 do
    if left < 0 or #found == 10 then return found end
    look(redis.pcall('LRANGE', KEYS[1], from, math.min(from + 15, range[2])))
  end
end
return found
