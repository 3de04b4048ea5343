-- Looks after batches: deletes the records of those that ended long ago, and counts parts that ended without being counted, because a plain
-- worker ran them, or one of an earlier version. Such a part has a result or an error. Parts of a cancelled batch that can be nowhere, as
-- the queue has been empty for long or was deleted, or were never pushed, count as cancelled. The shares of a still batch in partitions are asked
-- once a minute, because servers that went back in time may have forgotten what they told each other.
--
-- KEYS  1 queue  2 result  3 errors  4 stats
-- ARGV  1 how long a batch must be still before it is looked at, ms  2 maximum number of parts to look at
--       3 1 to look at shares of batches instead
-- Returns  1 if there may be more to do now, else 0
local base = string.sub(KEYS[4], 1, -6)
local BATCHES = base .. (ARGV[3] == '1' and 'shares' or 'batches')
if redis.call('EXISTS', BATCHES) == 0 then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local old = redis.call('ZRANGEBYSCORE', BATCHES, '-inf', now, 'LIMIT', 0, 20)
for _, id in ipairs(old) do
  for _, kind in ipairs({'batch', 'batch-left', 'batch-numbered', 'batch-ended', 'batch-failed', 'batch-ids', 'batch-inner', 'batch-known',
    'batch-shares', 'batch-spawned'}) do
    redis.call('UNLINK', base .. kind .. ':' .. id)
  end
  redis.call('ZREM', BATCHES, id)
end
if #old == 20 then return 1 end
local open = redis.call('ZCOUNT', BATCHES, '+inf', '+inf')
if open == 0 then return 0 end
local batches = batches_of(KEYS[1], KEYS[2], base)
-- a different one each time, where there are many
local which = redis.call('ZRANGEBYSCORE', BATCHES, '+inf', '+inf', 'LIMIT', now % open, 1)[1]
local b = which and batches.read(which)
if which and not b then
  redis.call('ZREM', BATCHES, which)
  return 1
end
local still = now - (tonumber(redis.call('HGET', b.key, 'at')) or 0)
-- the clock was set back: it is still from now on
if still < 0 then redis.call('HSET', b.key, 'at', string.format('%.0f', now)) end
if still < tonumber(ARGV[1]) then return 0 end

-- Whether no task of the queue waits, runs, is delayed, set aside or held.
local function is_empty()
  local places = {[KEYS[1]] = 'LLEN', [base .. 'delayed'] = 'ZCARD', [base .. 'suspects'] = 'LLEN', [base .. 'held'] = 'ZCARD'}
  for key, command in pairs(places) do
    if redis.pcall(command, key) ~= 0 then return false end
  end
  for _, held in ipairs(redis.call('HVALS', base .. 'load')) do
    if held ~= '0' then return false end
  end
  return true
end

-- Shares are in other partitions of this queue. What else is among their names was written by something else.
local function drop_stray_shares()
  local partitions = batches.count_of(redis.call('HGET', b.key, 'partitions'))
  local name = string.match(KEYS[1], '^(.*){%d+}$')
  if not partitions or not name then return end
  for _, share in ipairs(redis.call('SRANDMEMBER', base .. 'batch-shares:' .. b.id, tonumber(ARGV[2]))) do
    local number = string.sub(share, 1, #name) == name and string.match(share, '^{(%d+)}$', #name + 1)
    if not number or tonumber(number) >= partitions or share == KEYS[1] then
      redis.call('SREM', base .. 'batch-shares:' .. b.id, share)
      b.left = nil
    end
  end
end
if b.state and still >= 12 * tonumber(ARGV[1]) and is_empty() then batches.abandon(b) end
batches.drop_strays(b)
if b.role == 'whole' then drop_stray_shares() end
-- where the end could not be written when the last part was counted
batches.conclude_if_done(b)
if b.over then return 1 end
if b.role == 'whole' and still >= 2 * tonumber(ARGV[1]) and redis.call('SCARD', base .. 'batch-shares:' .. b.id) > 0 then
  local asked = tonumber(redis.call('HGET', b.key, 'asked')) or 0
  if now - asked >= 12 * tonumber(ARGV[1]) or asked > now then
    redis.call('HSET', b.key, 'asked', string.format('%.0f', now))
    batches.report(b)
  end
end
local ids, most = {}, tonumber(ARGV[2])
if b.declared then
  -- parts that are named ID:0, ID:1, … can be guessed
  local from = batches.count_of(redis.call('HGET', b.key, 'looked')) or 0
  for i = from, math.min(from + most, b.declared) - 1 do ids[#ids + 1] = string.format('%s:%.0f', b.id, i) end
  redis.call('HSET', b.key, 'looked', from + most < b.declared and from + most or 0)
else
  ids = redis.call('SRANDMEMBER', base .. 'batch-left:' .. b.id, most)
end
if b.numbered then
  local cursor = string.format('%.0f', batches.count_of(redis.call('HGET', b.key, 'looked')) or 0)
  local some, next_one = numbered_of(base .. 'batch-numbered:' .. b.id, b.id .. ':').some(cursor, most)
  for _, id in ipairs(some) do ids[#ids + 1] = id end
  redis.call('HSET', b.key, 'looked', next_one)
end
if #ids == 0 then return 0 end
local found = {done = {}, failed = {}, cancelled = {}}
local count = 0
for _, id in ipairs(batches.unended(b, ids)) do
  if redis.pcall('HEXISTS', KEYS[2], id) == 1 then
    found.done[#found.done + 1] = id
    count = count + 1
  else
    local failed = redis.pcall('HGET', KEYS[3], id)
    if type(failed) == 'string' then
      local read, about = pcall(cjson.decode, failed)
      local kind = read and type(about) == 'table' and about.cancelled and 'cancelled' or 'failed'
      found[kind][#found[kind] + 1] = id
    end
  end
end
if count + #found.failed + #found.cancelled == 0 then return 0 end
batches.settle(b.id, found)
return count > 0 and 1 or 0
