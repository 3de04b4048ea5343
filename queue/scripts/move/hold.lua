-- Who moves a queue to another place. At most one process does; it has a lease, and one that died leaves a record with which
-- the next one continues.
--
-- KEYS  1 move  2 moving
-- ARGV  1 'begin', 'renew', 'ready', 'caughtUp', 'release' or 'end'  2 the process, a random text  3 lease, ms
--       4 begin: id for a new move; ready: names of the destination
-- Returns  {0, end of the other's lease, Redis time} while another process has a lease; 'renew' and the rest: also when this one has none
--          {1, id of the move, Redis time in ms, names of its destination or ''}, which are there once 'ready' was called;
--          'end': {1} when the record is gone, {2} when a batch is still in hand
-- A record without a destination has moved nothing yet, and is gone with its process. 'caughtUp' notes that the backlog has arrived.
local MOVE, MOVING = unpack(KEYS)
local how, process, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local holder, ends, id, to, its_lease = unpack(redis.call('HMGET', MOVE, 'holder', 'ends', 'id', 'to', 'lease'))
ends = tonumber(ends) or 0
local mine = holder == process
if how == 'begin' then
  if holder and not mine and ends > now then
    -- the clock was set back: from now on, the other one has its whole lease to renew it
    local most = now + (tonumber(its_lease) or lease)
    if ends > most then
      ends = most
      redis.call('HDEL', MOVE, '')
      redis.call('HSET', MOVE, 'ends', string.format('%.0f', ends))
    end
    return {0, ends, now}
  end
elseif not mine then
  return {0, ends, now}
end
-- Redis allows this when memory is short, and then the rest too
redis.call('HDEL', MOVE, '')
if how == 'end' then
  if redis.call('EXISTS', MOVING) == 1 then return {2} end
  redis.call('DEL', MOVE)
  return {1}
end
if how == 'release' then
  redis.call('HDEL', MOVE, 'holder', 'ends', 'lease')
  if not to then redis.call('DEL', MOVE) end
else
  redis.call('HSET', MOVE, 'holder', process, 'ends', string.format('%.0f', now + lease), 'lease', lease)
end
if how == 'begin' and not id then
  id = ARGV[4]
  redis.call('HSET', MOVE, 'id', id)
end
if how == 'ready' then
  to = ARGV[4]
  redis.call('HSET', MOVE, 'to', to)
end
if how == 'caughtUp' then redis.call('HSET', MOVE, 'caughtUp', '1') end
return {1, id, now, to or ''}
