-- Chooses which workers drain: those take nothing more, hand back what they have not begun and finish what runs.
--
-- KEYS  1 leaving  2 load  then the hash of each worker named in ARGV, in the same order
-- ARGV  1 how long a mark lasts, ms  then for each worker: its id, and 'leave', 'stay' or 'look' (changes nothing)
-- Returns  for each worker: {state or '' when it is not registered, tasks in flight, id of its waiting connection or ''}
-- After: of the workers named, those with 'leave' drain and those with 'stay' do not, all at one instant. One that
-- registers within that time finds its mark (register.lua). A mark ends by itself, so that workers whose controller is
-- gone for good go on: whoever wants them to drain says so again and again.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last = now + tonumber(ARGV[1])
local seen = {}
for i = 3, #KEYS do
  local id, verb = ARGV[2 * i - 4], ARGV[2 * i - 3]
  local about = redis.call('HMGET', KEYS[i], 'epoch', 'state', 'blocker')
  local registered = about[1] and about[1] ~= '0'
  if verb == 'leave' then
    redis.call('ZADD', KEYS[1], last, id)
    if registered then redis.call('HSET', KEYS[i], 'drain', last) end
  elseif verb == 'stay' then
    redis.call('ZREM', KEYS[1], id)
    if registered then redis.call('HDEL', KEYS[i], 'drain') end
  end
  local inflight = tonumber(redis.call('HGET', KEYS[2], id) or 0)
  seen[i - 2] = {registered and about[2] or '', inflight, registered and about[3] or ''}
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
-- no mark outlives it
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return seen
