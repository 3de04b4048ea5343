-- Chooses which workers drain: those take nothing more, hand back what they have not begun and finish what runs.
--
-- KEYS  1 leaving  2 load  3 asked  then the hash of each worker named in ARGV, in the same order
-- ARGV  1 how long a mark lasts, ms  then for each worker: its id, and 'leave', 'stay' or 'look' (changes nothing); of a
--       person: 'ask', which is 'leave' and outlasts every 'stay', and 'release', which ends that
-- Returns  for each worker: {state or '' when it is not registered, tasks in flight, id of its waiting connection or '',
--           the pool that it says it is of, or ''}
-- After: of the workers named, those with 'leave' drain and those with 'stay' do not, all at one instant. One that
-- registers within that time finds its mark (register.lua). A mark ends by itself, so that workers whose controller is
-- gone for good go on: whoever wants them to drain says so again and again. What a person asked for holds beside it.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last = now + tonumber(ARGV[1])
local seen = {}
for i = 4, #KEYS do
  local id, verb = ARGV[2 * i - 6], ARGV[2 * i - 5]
  local about = redis.call('HMGET', KEYS[i], 'epoch', 'state', 'blocker', 'pool')
  local registered = about[1] and about[1] ~= '0'
  local asked = tonumber(redis.call('ZSCORE', KEYS[3], id) or 0)
  if verb == 'ask' then
    redis.call('ZADD', KEYS[3], last, id)
    asked = last
  elseif verb == 'release' then
    redis.call('ZREM', KEYS[3], id)
    asked = 0
  end
  if verb == 'leave' or verb == 'ask' then
    -- the longer of two wishes holds
    local till = math.max(last, asked)
    redis.call('ZADD', KEYS[1], till, id)
    if registered then redis.call('HSET', KEYS[i], 'drain', till) end
  elseif verb == 'release' or (verb == 'stay' and asked <= now) then
    redis.call('ZREM', KEYS[1], id)
    if registered then redis.call('HDEL', KEYS[i], 'drain') end
  end
  local inflight = tonumber(redis.call('HGET', KEYS[2], id) or 0) or 0
  -- a worker writes what it likes there
  local function short(text, most) return registered and text and string.sub(text, 1, most) or '' end
  seen[i - 3] = {short(about[2], 32), inflight, short(about[3], 32), short(about[4], 512)}
end
-- no mark outlives its key
for _, key in ipairs({KEYS[1], KEYS[3]}) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  local longest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
  if longest then redis.call('PEXPIREAT', key, longest) end
end
return seen
