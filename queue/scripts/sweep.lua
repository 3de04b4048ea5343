-- Deletes expired results (where the server does not expire them itself), errors, dead letters and cancel marks.
--
-- KEYS  1 result  2 dead  3 errors  4 cancelled  5 expiry
-- ARGV  1 maximum number to delete  2 key of the queue
-- Returns  1 if more may be due now, else 0
-- Members of the expiry set: 'r' or 'e', a fingerprint, '|' and an id for a result or an error; 'd' and a time for all dead
-- letters up to that time. A result or an error that was replaced since is kept: those of plain workers do not expire, and a
-- newer one of ours has an entry of its own. (The same value written again by a plain worker cannot be distinguished from the
-- earlier one.)
local MOST_BYTES = 4 * 1024 * 1024
local most = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local unmarked = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, most)
if #unmarked > 0 then redis.call('ZREM', KEYS[4], unpack(unmarked)) end
local marks_left = #unmarked == most

local removed, bytes = 0, 0

-- drops dead letters up to a time, each with its error unless a later one has replaced it. Returns whether all were dropped
local function drop_dead(up_to)
  while removed < most and bytes < MOST_BYTES do
    local oldest = redis.call('LINDEX', KEYS[2], -1)
    if not oldest or (tonumber(string.match(oldest, '^%d+')) or 0) > up_to then return true end
    redis.call('RPOP', KEYS[2])
    removed, bytes = removed + 1, bytes + #oldest
    local header, raw = string.match(oldest, '^%d+ ([^\n]*)\n(.*)$')
    local read, about = pcall(cjson.decode, header or '')
    local id = read and type(about) == 'table' and type(about.id) == 'string' and about.id or raw
    if id and redis.call('HGET', KEYS[3], id) == header then redis.call('HDEL', KEYS[3], id) end
    -- a part of a batch that waits for it has failed
    if read and type(about) == 'table' and about.batch then
      -- where its keys have another type, the others are swept all the same
      pcall(batches_of(ARGV[2], KEYS[1], string.sub(KEYS[2], 1, -5)).give_up, about.batch, id)
    end
  end
  return false
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now, 'LIMIT', 0, most)) do
  if removed >= most or bytes > MOST_BYTES then return 1 end
  local kind = string.sub(member, 1, 1)
  if kind == 'd' then
    if not drop_dead(tonumber(string.sub(member, 2))) then return 1 end
  else
    local mark, id = string.match(member, '^.([^|]*)|(.*)$')
    local key = kind == 'r' and KEYS[1] or KEYS[3]
    local value = redis.pcall('HGET', key, id) -- a key of another type is left alone
    if type(value) == 'string' then
      bytes = bytes + #value
      if fingerprint(value) == mark then redis.call('HDEL', key, id) end
    end
    removed = removed + 1
  end
  redis.call('ZREM', KEYS[5], member)
end
return (marks_left or redis.call('ZCOUNT', KEYS[5], '-inf', now) > 0) and 1 or 0
