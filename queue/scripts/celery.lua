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

-- Of a text that stands inside of a header, the quotes are escaped; the body is in base64.
local function eta_in(message)
  if not string.find(message, '"headers"', 1, true) then return '?' end
  return string.match(message, '[^\\]"eta": *"([%d%-:T.+Z]+)"') or '-'
end

-- Messages are as long as clients make them, and what Lua holds counts as memory of Redis: of the hash, a few are read first, and
-- then as many as fit into this many bytes by the size of these.
local ROOM = 2 * 1024 * 1024
local FEW = 32

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
      -- [message, exchange, routing key]
      local route = string.match(value, '"([^"]*)"%]$')
      local exchange = string.match(value, '"([^"]*)", *"[^"]*"%]$') or ''
      fetched[#fetched + 1] = string.sub(exchange, 1, 256)
      fetched[#fetched + 1] = route and string.sub(route, 1, 256) or '?'
      fetched[#fetched + 1] = route and eta_in(value) or '?'
    end
  end
  return true
end

if not read_page(FEW) then return {now, 1} end
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

local replies = {now, unread, fetched, 0, bound}
local total = read + unread
for queue = 1, queues do
  local left = most_lists
  for list = 1, lists do
    local at = 1 + queues + (queue - 1) * lists + list
    local messages = left > 0 and redis.pcall('LRANGE', KEYS[at], -most_listed, -1) or {}
    if messages.err then return {now, at} end
    local length = #messages
    -- there may be more
    if left == 0 or length == most_listed then length = redis.pcall('LLEN', KEYS[at]) end
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
