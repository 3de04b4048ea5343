-- Reads what Celery's messages say of themselves: which are not to run before a time (ETA), and to which queue those belong that
-- workers have fetched and not acknowledged. Only that leaves Redis, whatever else is in a message. Writes nothing.
--
-- KEYS  1 the hash of unacknowledged messages  2 … lists of messages
-- ARGV  1 the most messages that are read of the hash  2 the same, of each list, from the end that is taken next
-- Returns  {Redis time in ms, messages of the hash that were not read, {for each that was: routing key, ETA},
--          for each list: {for each message read: its ETA}}; an ETA is ISO text, `-` for none, and `?` for no message of Celery
local clock = redis.call('TIME')
local most_unacked, most_listed = tonumber(ARGV[1]), tonumber(ARGV[2])

-- Of a text that stands inside of a header, the quotes are escaped; the body is in base64.
local function eta_in(message)
  if not string.find(message, '"headers"', 1, true) then return '?' end
  return string.match(message, '[^\\]"eta": *"([%d%-:T.+Z]+)"') or '-'
end

-- Messages are as long as clients make them, and what Lua holds counts as memory of Redis: no more of the hash are read once
-- they were this many bytes in all.
local ROOM = 2 * 1024 * 1024

local fetched, seen, cursor, read, room = {}, {}, '0', 0, ROOM
repeat
  local page = redis.pcall('HSCAN', KEYS[1], cursor, 'COUNT', 250)
  -- of another type, which who asks for its size is told
  if page.err then break end
  cursor = page[1]
  for i = 1, #page[2], 2 do
    local tag, value = page[2][i], page[2][i + 1]
    room = room - #value
    if not seen[tag] and read < most_unacked then
      seen[tag] = true
      read = read + 1
      -- [message, exchange, routing key]
      local route = string.match(value, '"([^"]*)"%]$')
      fetched[#fetched + 1] = route and string.sub(route, 1, 256) or '?'
      fetched[#fetched + 1] = route and eta_in(value) or '?'
    end
  end
until cursor == '0' or read >= most_unacked or room <= 0

local unread = cursor == '0' and 0 or math.max(0, redis.call('HLEN', KEYS[1]) - read)
local replies = {clock[1] * 1000 + math.floor(clock[2] / 1000), unread, fetched}
for i = 2, #KEYS do
  local etas = {}
  for j, message in ipairs(redis.pcall('LRANGE', KEYS[i], -most_listed, -1)) do etas[j] = eta_in(message) end
  replies[i + 2] = etas
end
return replies
