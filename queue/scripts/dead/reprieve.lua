-- A dead letter that had expired and is requeued: it gets a past of no attempts and no deliveries, by which workers know that it was begun
-- or let go once, so that it does not expire again. Joined in front of the scripts that requeue (lua.ts).
--
-- `base`: what the internal keys of the queue begin with. To be called before the task is in the queue.
local function reprieve(base, raw)
  local HISTORY, PASTS, PAST = base .. 'history', base .. 'pasts', '0:0'
  local name = #raw <= 40 and '=' .. raw or '#' .. redis.sha1hex(raw)
  -- as in turn/rare.lua
  local few = redis.call('HGET', HISTORY, name)
  if not few or #few < 128 then
    redis.call('HSET', HISTORY, name, few and (few .. ',' .. PAST) or PAST)
    return
  end
  local below, count, top = string.match(redis.call('HGET', PASTS, name) or '', '^(%d+):(%d+):(.*)$')
  if top and top ~= PAST then
    below = below + 1
    redis.call('HSET', PASTS, below .. '|' .. name, count .. ':' .. top)
    count = 0
  end
  redis.call('HSET', PASTS, name, (below or 0) .. ':' .. (count or 0) + 1 .. ':' .. PAST)
end

