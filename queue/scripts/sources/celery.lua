-- Reads what Celery's queues hold, and what its messages say of themselves: which are not to run before a time (ETA), and to which
-- queue those belong that workers have fetched and not acknowledged. Only that leaves Redis, whatever else is in a message. Writes
-- nothing.
--
-- KEYS  1 the hash of unacknowledged messages  2 … of each queue the bindings of the exchange of its name, then of each queue its
--       lists of messages in the order in which they are taken, then the bindings of other exchanges
-- ARGV  1 the number of queues  2 the lists of each  3 the most messages that are read of the hash  4 the same, of each list, from
--       the end that is taken next  5 of a queue, the most lists that are read  6 what stands between the parts of a binding
--       7 … the names of the queues
-- Returns  {Redis time in ms, messages of the hash that were not read, {for each that was: exchange, routing key, ETA}, the number of
--          bindings if there is no message at all, else 0, {of other exchanges: which of KEYS, a binding of one of these
--          queues}, for each list: {its length, for each message read: its ETA}}; an ETA is
--          ISO text, `-` for none, and `?` for no message of Celery. {Redis time in ms, n} where KEYS[n] is of another type
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local queues, lists = tonumber(ARGV[1]), tonumber(ARGV[2])
local most_unacked, most_listed, most_lists = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

-- In JSON each quote inside of a text has a backslash before it, so a name with its quotes and colon is a field. Messages are as long as
-- clients make them: of a long one the end is searched, where its headers are, behind the body.
local LONG = 262144
local function eta_in(message)
  if #message > LONG then
    message = string.sub(message, -LONG)
  elseif not string.find(message, '"headers"', 1, true) then
    return '?'
  end
  local from, to = 1, 0
  for _ = 1, 100 do
    from, to = string.find(message, '"eta":', to + 1, true)
    if not from then break end
    if string.byte(message, from - 1) ~= 92 then
      return string.match(string.sub(message, to + 1, to + 64), '^ *"([%d%-:T.+Z]+)"') or '-'
    end
  end
  return '-'
end

-- The exchange and the routing key of `[message, "exchange", "routing key"]`, as JSON has them: a quote in one is escaped.
local function route_of(value)
  local tail = string.sub(value, -4096)
  local exchange, route = string.match(tail, '[^\\]"([^"]*)", *"([^"]*)"%]$')
  if route then return exchange, route end
  local texts, last, at = {}, #tail - 1, #tail - 2
  if string.sub(tail, -2) ~= '"]' then return end
  while at > 0 and #texts < 2 do
    local slashes = 0
    if string.byte(tail, at) == 34 then
      while string.byte(tail, at - 1 - slashes) == 92 do slashes = slashes + 1 end
      if slashes % 2 == 0 then
        texts[#texts + 1] = string.sub(tail, at + 1, last - 1)
        -- the text before it ends with the next quote
        local before = string.match(string.sub(tail, 1, at - 1), '"(, *)$')
        if not before then break end
        at = at - #before - 1
        last = at
      end
    end
    at = at - slashes - 1
  end
  return texts[2] or '', texts[1]
end

-- What Lua holds counts as memory of Redis: of the hash, and of each queue's lists, a few messages are read first, and then as many as
-- fit into this many bytes by the size of these.
local ROOM, LIST_ROOM = 2 * 1024 * 1024, 16 * 1024 * 1024
-- Bytes of a name, each character of which JSON may escape.
local LONGEST = 1536
local FEW_FETCHED, FEW_LISTED = 32, 4

local fetched, seen, cursor, read, bytes = {}, {}, '0', 0, 0
local function read_page(count)
  -- Redis 7 counts a field and its value as two
  local reply = redis.pcall('HSCAN', KEYS[1], cursor, 'COUNT', 2 * count)
  if reply.err then return false end
  cursor = reply[1]
  for i = 1, #reply[2], 2 do
    local tag, value = reply[2][i], reply[2][i + 1]
    bytes = bytes + #value
    if not seen[tag] and read < most_unacked then
      seen[tag] = true
      read = read + 1
      local exchange, route = route_of(value)
      fetched[#fetched + 1] = string.sub(exchange or '', 1, LONGEST)
      fetched[#fetched + 1] = route and string.sub(route, 1, LONGEST) or '?'
      fetched[#fetched + 1] = route and eta_in(value) or '?'
    end
  end
  return true
end

if not read_page(FEW_FETCHED) then return {now, 1} end
if cursor ~= '0' and bytes < ROOM then
  local size = math.max(1, bytes / math.max(1, read))
  read_page(math.max(1, math.min(most_unacked - read, math.floor((ROOM - bytes) / size))))
end

local unread = cursor == '0' and 0 or math.max(0, redis.call('HLEN', KEYS[1]) - read)
local bound = {}
for at = 2 + queues + queues * lists, #KEYS do
  -- about as many as this; a binding is `routing key, pattern, queue`
  local reply = redis.pcall('SSCAN', KEYS[at], '0', 'COUNT', 200)
  if reply.err then return {now, at} end
  for _, member in ipairs(reply[2]) do
    for i = 7, #ARGV do
      local behind = ARGV[6] .. ARGV[i]
      if string.sub(member, -#behind) == behind and #member <= 1024 and #bound < 200 then
        bound[#bound + 1] = at
        bound[#bound + 1] = member
      end
    end
  end
end

-- the messages of a list that are taken next, the oldest last, or the error; how many were asked for; and the room that is left
local size
local function newest(key, room)
  local few = math.min(FEW_LISTED, most_listed)
  local count = size and math.max(few, math.min(most_listed, math.floor(room / size))) or few
  local messages = redis.pcall('LRANGE', key, -count, -1)
  if messages.err or #messages == 0 then return messages, count, room end
  local sum = 0
  for _, message in ipairs(messages) do sum = sum + #message end
  room = room - sum
  if not size and #messages == count then
    size = math.max(1, sum / #messages)
    local more = math.min(most_listed - count, math.floor(room / size))
    if more > 0 then
      local others = redis.pcall('LRANGE', key, -count - more, -count - 1)
      for _, message in ipairs(messages) do others[#others + 1] = message end
      messages, count, room = others, count + more, room - more * size
    end
  end
  return messages, count, room
end

local replies = {now, unread, fetched, 0, bound}
local total = read + unread
for queue = 1, queues do
  local left, room = most_lists, LIST_ROOM
  for list = 1, lists do
    local at = 1 + queues + (queue - 1) * lists + list
    local messages, count = {}, 0
    if left > 0 then messages, count, room = newest(KEYS[at], room) end
    if messages.err then return {now, at} end
    local length = #messages
    -- there may be more
    if length == count then length = redis.pcall('LLEN', KEYS[at]) end
    if type(length) == 'table' then return {now, at} end
    if length > 0 and left > 0 then left = left - 1 end
    total = total + length
    local row = {length}
    for i, message in ipairs(messages) do row[i + 1] = eta_in(message) end
    replies[#replies + 1] = row
  end
end
if total == 0 and queues > 0 then replies[4] = redis.call('EXISTS', unpack(KEYS, 2, 1 + queues)) + #bound end
return replies
