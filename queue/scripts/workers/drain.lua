-- Orders workers to drain, or to stop draining, and reads their states. A draining worker takes no more tasks, hands back those
-- that it has not begun, and finishes those that run.
--
-- KEYS  1 leaving  2 load  3 asked  then the hash of each worker in ARGV, in the same order
-- ARGV  1 lifetime of a mark, ms  then for each worker: its id and an order. The controller's: 'leave', 'stay', or 'read', which
--       changes nothing. A person's: 'ask', which is 'leave' and overrides every 'stay', and 'release', which ends it
-- Returns  for each worker: {state, or '' if it is not registered; tasks in flight; id of its waiting connection, or ''; the pool
--           that it reports, or ''}
-- After: workers with 'leave' drain and those with 'stay' do not, all from one instant on. A worker that registers while its
-- mark lasts finds it (register.lua). Marks expire, so that workers resume when their controller is gone for good: the
-- controller renews them. An order of a person is independent of the controller's.
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
    -- the order that lasts longer wins
    local till = math.max(last, asked)
    redis.call('ZADD', KEYS[1], till, id)
    if registered then redis.call('HSET', KEYS[i], 'drain', till) end
  elseif verb == 'release' or (verb == 'stay' and asked <= now) then
    redis.call('ZREM', KEYS[1], id)
    if registered then redis.call('HDEL', KEYS[i], 'drain') end
  end
  local inflight = tonumber(redis.call('HGET', KEYS[2], id) or 0) or 0
  -- workers may write texts of any length there
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
