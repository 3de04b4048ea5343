-- A dead letter that had expired and is requeued: it gets a past of no attempts and no deliveries, by which workers know that it was begun
-- or let go once, so that it does not expire again. Joined in front of the scripts that requeue (lua.ts), whose second key is the
-- list of dead letters. To be called before the task is in the queue.
local BASE = string.sub(KEYS[2], 1, -5)
local HISTORY, PASTS = BASE .. 'history', BASE .. 'pasts'

-- a short and unique name for a task's bytes
local function digest(raw)
  if #raw <= 40 then return '=' .. raw end
  return '#' .. redis.sha1hex(raw)
end

-- Stores the past of a task that goes back to the list: see turn/rare.lua, which has the same function.
local HISTORY_BYTES = 128
local function remember(raw, past)
  local name = digest(raw)
  local few = redis.call('HGET', HISTORY, name)
  if not few or #few < HISTORY_BYTES then
    redis.call('HSET', HISTORY, name, few and (few .. ',' .. past) or past)
    return
  end
  local below, count, top = string.match(redis.call('HGET', PASTS, name) or '', '^(%d+):(%d+):(.*)$')
  if top and top ~= past then
    below = below + 1
    redis.call('HSET', PASTS, below .. '|' .. name, count .. ':' .. top)
    count = 0
  end
  redis.call('HSET', PASTS, name, (below or 0) .. ':' .. (count or 0) + 1 .. ':' .. past)
end

local function reprieve(raw) remember(raw, '0:0') end
