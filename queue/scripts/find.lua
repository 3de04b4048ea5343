-- Finds tasks that may have a certain id: in flight, delayed, held by limits, or waiting, of these a limited number from both ends of the list.
--
-- KEYS  1 queue  2 delayed  3 load
-- ARGV  1 the id  2 prefix of the keys of workers' tasks in flight  3 maximum number of tasks to look at in each place
--       4 maximum number of bytes to look at in all
-- Returns  {task, …}; of a delayed task the member of its set. The caller reads their ids: this only leaves out what cannot have it.
-- Read-only. A key of another type counts as empty.
local id, most, left = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local found = {}

-- Whether a task, or what a delayed one ends with, is the id, or has a field `id` that is. Ids are often part of other values (1 is
-- part of 2010), and may be spelled with escapes.
local function may_have_it(raw)
  if string.sub(raw, -#id) == id or string.find(raw, '\\u006', 1, true) then return true end
  local _, at = string.find(raw, '"id"', 1, true)
  while at do
    local value = string.match(raw, '^%s*:%s*()', at + 1)
    if value and string.sub(raw, value, value + #id - 1) == id then return true end
    if value and string.sub(raw, value, value) == '"' then
      if string.sub(raw, value + 1, value + #id) == id then return true end
      local stop = string.find(raw, '["\\]', value + 1)
      if stop and string.sub(raw, stop, stop) == '\\' then return true end
    end
    _, at = string.find(raw, '"id"', at, true)
  end
  return false
end

local function look(tasks)
  for _, raw in ipairs(tasks) do
    left = left - #raw
    if left < 0 then return end
    if may_have_it(raw) then found[#found + 1] = raw end
  end
end

-- Looks at what `read` returns of these places, a few at a time: the size of a task is known only when it is read.
local STEP = 16
local function look_from(first, last, read)
  for from = first, last, STEP do
    if left < 0 then return end
    local tasks = read(from, math.min(from + STEP - 1, last))
    if tasks.err or #tasks == 0 then return end
    look(tasks)
  end
end

local workers = redis.pcall('HKEYS', KEYS[3])
for i = 1, workers.err and 0 or math.min(#workers, most) do
  local key = ARGV[2] .. workers[i]
  local receipts = redis.pcall('HKEYS', key)
  look_from(1, receipts.err and 0 or #receipts, function(from, to) return redis.call('HMGET', key, unpack(receipts, from, to)) end)
end
look_from(0, most - 1, function(from, to) return redis.pcall('ZRANGE', KEYS[2], from, to) end)
-- the first ones of the keys with the most; what is in front of a task is its past
local base = string.sub(KEYS[2], 1, -8)
local keys = redis.pcall('ZRANGE', base .. 'held', 0, 99, 'REV')
local each = math.ceil(most / math.max(1, #keys))
for _, key in ipairs(keys) do
  look_from(1, each, function(from, to)
    local entries = redis.pcall('LRANGE', base .. 'held-tasks:' .. key, -to, -from)
    for i, entry in ipairs(entries) do entries[i] = string.match(entry, '^[^|]*|(.*)$') or entry end
    return entries
  end)
end
local length = redis.pcall('LLEN', KEYS[1])
if type(length) ~= 'number' then return found end
local half = math.floor(most / 2)
local ranges = length <= most and {{0, length - 1}} or {{0, half - 1}, {length - half, length - 1}}
for _, range in ipairs(ranges) do
  look_from(range[1], range[2], function(from, to) return redis.pcall('LRANGE', KEYS[1], from, to) end)
end
return found
