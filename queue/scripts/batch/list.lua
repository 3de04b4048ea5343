-- Reads a page of the batches that are open, or of those that have ended, the last one first.
--
-- KEYS  1 batches
-- ARGV  1 'open' or 'ended'  2 number of those to leave out  3 maximum number of those to return
-- Returns  { ms of Redis time; number of batches of this kind; for each of the page a list: its id, the fields below, the number of its
--          failed parts, of open batches inside of it }. Texts of at most 1,024 bytes; of what is none of ours, fields are empty.
local FIELDS = {'size', 'policy', 'open', 'state', 'done', 'failed', 'cancelled', 'thenId', 'why', 'created', 'at', 'endedAt',
  'partitions'}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if redis.call('EXISTS', KEYS[1]) == 0 then return {now, 0} end
local base = string.sub(KEYS[1], 1, -8)
local from, to = '-inf', '(+inf'
if ARGV[1] == 'open' then from, to = '+inf', '+inf' end

local function size_of(kind, id)
  local found = redis.pcall('SCARD', base .. kind .. ':' .. id)
  return type(found) == 'number' and found or 0
end

local reply = {now, redis.call('ZCOUNT', KEYS[1], from, to)}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], to, from, 'BYSCORE', 'REV', 'LIMIT', ARGV[2], ARGV[3])) do
  local values = redis.pcall('HMGET', base .. 'batch:' .. id, unpack(FIELDS))
  local batch = {string.sub(id, 1, 1024)}
  for i = 1, #FIELDS do batch[i + 1] = string.sub(not values.err and values[i] or '', 1, 1024) end
  batch[#batch + 1], batch[#batch + 2] = size_of('batch-failed', id), size_of('batch-inner', id)
  reply[#reply + 1] = batch
end
return reply
