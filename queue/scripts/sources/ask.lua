-- Runs several commands that only read, all at one instant, and returns their replies with every text cut: what clients write
-- into a key is of any length.
--
-- KEYS  for each command, the key that it reads
-- ARGV  1 the most bytes of a text  2 the most texts and numbers in one reply
--       3 … for each command: the number of its arguments after the key, its name, and these arguments, each either `=` and
--       the argument, or `@plus factor offset`, which stands for (Redis time in ms + plus) × factor + offset, after a `(` where
--       `@(` begins it
-- Returns  {Redis time in ms, for each command: {1, its reply} or {0, its error in words}}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local longest, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local left

local function shorten(value)
  if type(value) ~= 'table' then
    left = left - 1
    return type(value) == 'string' and string.sub(value, 1, longest) or value
  end
  if value.ok then return value.ok end
  local cuts = {}
  for i, one in ipairs(value) do
    if left <= 0 then break end
    cuts[i] = shorten(one)
  end
  return cuts
end

-- the default of 14 digits is too short for milliseconds × 4096
local function computed(text)
  local open, plus, factor, offset = string.match(text, '^@(%(?)(%S+) (%S+) (%S+)$')
  local value = (now + tonumber(plus)) * tonumber(factor) + tonumber(offset)
  return open .. string.format(value == math.floor(value) and '%.0f' or '%.3f', value)
end

-- element by element, so that no more leaves the list than is returned
local function range(key, first, last)
  local found = {}
  for i = tonumber(first), tonumber(last) do
    local element = redis.pcall('LINDEX', key, i)
    if not element then break end
    if type(element) == 'table' then return element end
    found[#found + 1] = string.sub(element, 1, longest)
  end
  return found
end

-- the ids of the first entries of a range, and so no contents: in growing steps, until their number or 256 kB of contents are
-- reached; the second value is whether there may be more
local function ids(key, first, last, count)
  local found, bytes, largest, step = {}, 0, 1, 4
  while #found < count and bytes < 262144 do
    local limit = math.min(step, count - #found, math.ceil((262144 - bytes) / largest))
    local entries = redis.pcall('XRANGE', key, first, last, 'COUNT', limit)
    if entries.err then return entries end
    for _, entry in ipairs(entries) do
      local size = 0
      for _, text in ipairs(entry[2]) do size = size + #text end
      bytes, largest = bytes + size, math.max(largest, size)
      found[#found + 1] = entry[1]
    end
    if #entries < limit then return {found, 0} end
    first, step = '(' .. entries[#entries][1], 8 * step
  end
  return {found, 1}
end

-- the ends of the values of a hash: in growing steps, until their number or 256 kB of them are reached
local function tails(key, count)
  local found, bytes, cursor, step = {}, 0, '0', 4
  repeat
    local reply = redis.pcall('HSCAN', key, cursor, 'COUNT', step)
    if reply.err then return reply end
    cursor, step = reply[1], 4 * step
    for i = 2, #reply[2], 2 do
      found[#found + 1] = string.sub(reply[2][i], -512)
      bytes = bytes + #reply[2][i]
    end
  until cursor == '0' or #found >= count or bytes >= 262144 or step > 4096
  return found
end

-- members of a set that are names of keys which are there, until there are so many; of a set in which the names of thousands of
-- workers stand that are gone, 20000 are looked at
local function living(key, most)
  local found, known, cursor, looked = {}, {}, '0', 0
  repeat
    local reply = redis.pcall('SSCAN', key, cursor, 'COUNT', 500)
    if reply.err then return reply end
    cursor, looked = reply[1], looked + #reply[2]
    for from = 1, #reply[2], 100 do
      local to = math.min(from + 99, #reply[2])
      local there = redis.pcall('EXISTS', unpack(reply[2], from, to))
      if type(there) ~= 'number' then return there end
      for i = from, there > 0 and to or 0 do
        local name = reply[2][i]
        if not known[name] and (there == to - from + 1 or redis.call('EXISTS', name) == 1) then
          known[name] = true
          found[#found + 1] = name
        end
      end
    end
  until cursor == '0' or #found >= most or looked >= 20000
  return found
end

-- the hashes that the members of a set are names of: how many members there are, and for each, its name and these fields. One
-- command reads them all, unless the set is too large, or the user may not: then it seems to be
local function named_hashes(key, most, ...)
  local size = redis.pcall('SCARD', key)
  if type(size) == 'table' then return size end
  if size == 0 or size > tonumber(most) then return {size} end
  local words = {key, 'BY', 'nosort', 'GET', '#'}
  for _, field in ipairs({...}) do
    words[#words + 1] = 'GET'
    words[#words + 1] = '*->' .. field
  end
  local found = redis.pcall('SORT_RO', unpack(words))
  -- before Redis 7
  if found.err and string.find(found.err, 'nknown', 1, true) then found = redis.pcall('SORT', unpack(words)) end
  if found.err then return {tonumber(most) + 1} end
  table.insert(found, 1, size)
  return found
end

-- how many of the first members by score, behind a prefix, are names of keys that are there
local function named(key, prefix, first, last, most)
  local members = redis.pcall('ZRANGE', key, first, last, 'BYSCORE', 'LIMIT', 0, most)
  if members.err then return members end
  local total = 0
  for from = 1, #members, 250 do
    local names = {}
    for i = from, math.min(from + 249, #members) do names[#names + 1] = prefix .. members[i] end
    local there = redis.pcall('EXISTS', unpack(names))
    if type(there) ~= 'number' then return there end
    total = total + there
  end
  return total
end

local function value(row, name)
  for i = 1, #row, 2 do
    if row[i] == name then return row[i + 1] end
  end
end

-- XINFO without what it returns beside: of a stream the ids of its first and last entry, but not these; of its groups only the
-- one that is asked for. Nothing for a key that is not there
local function information(about, key, name)
  if about == 'CONSUMERS' then return redis.pcall('XINFO', about, key, name) end
  local reply = redis.pcall('XINFO', about, key)
  if reply.err then return not string.find(reply.err, 'no such key', 1, true) and reply end
  if about == 'GROUPS' then
    for _, group in ipairs(reply) do
      if value(group, 'name') == name then return group end
    end
    return {}
  end
  for i = 1, #reply, 2 do
    local field = reply[i]
    if field == 'first-entry' or field == 'last-entry' then reply[i + 1] = reply[i + 1] and reply[i + 1][1] end
  end
  return reply
end

local replies = {now}
local at = 3
for i, key in ipairs(KEYS) do
  local count, command = tonumber(ARGV[at]), ARGV[at + 1]
  local arguments = {}
  for j = 1, count do
    local text = ARGV[at + 1 + j]
    arguments[j] = string.sub(text, 1, 1) == '@' and computed(text) or string.sub(text, 2)
  end
  at = at + 2 + count
  left = most
  local reply
  if command == 'LRANGE' then reply = range(key, arguments[1], arguments[2])
  elseif command == 'XRANGE' then reply = ids(key, arguments[1], arguments[2], tonumber(arguments[3]))
  elseif string.sub(command, 1, 6) == 'XINFO ' then reply = information(string.sub(command, 7), key, arguments[1])
  elseif command == 'SORT' then reply = named_hashes(key, unpack(arguments))
  elseif command == 'SSCAN' then reply = living(key, tonumber(arguments[1]))
  elseif command == 'ZRANGE EXISTS' then reply = named(key, unpack(arguments))
  elseif command == 'HSCAN' then reply = tails(key, tonumber(arguments[1]))
  elseif command == 'GET' then reply = redis.pcall('GETRANGE', key, 0, longest - 1)
  else reply = redis.pcall(command, key, unpack(arguments)) end
  local failed = type(reply) == 'table' and reply.err
  replies[i + 1] = failed and {0, string.sub(failed, 1, 1024)} or {1, shorten(reply)}
end
return replies
