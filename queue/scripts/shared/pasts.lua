-- The pasts of tasks that wait in a list. Joined in front of the scripts that put tasks back, or take them (lua.ts).
--
-- Equal tasks share a name but have a past each: the first few are in one text (history), which earlier versions read, too; all others in
-- a stack of runs (pasts), so that each costs the same. The field of the name holds the top run, `runs below:tasks:past`; the n-th below it
-- is `tasks:past` under `n|name`.
local function pasts_of(HISTORY, PASTS)
  local HISTORY_BYTES = 128

  -- a short and unique name for a task's bytes
  local function digest(raw)
    if #raw <= 40 then return '=' .. raw end
    return '#' .. redis.sha1hex(raw)
  end

  -- what something else wrote in place of a past counts as none
  local function sound(past) return past and string.find(past .. ':', '^%d+:%d+:') and past or nil end

  -- Stores the past of a task that goes back to the list.
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

  -- Returns the past that a task of these bytes has, which is then its own and no longer kept for others; nil when it has none.
  local function recall(raw)
    local name = digest(raw)
    local below, count, past = string.match(redis.call('HGET', PASTS, name) or '', '^(%d+):(%d+):(.*)$')
    if past then
      if count ~= '1' then
        redis.call('HSET', PASTS, name, below .. ':' .. count - 1 .. ':' .. past)
      elseif below == '0' then
        redis.call('HDEL', PASTS, name)
      else
        local field = below .. '|' .. name
        local under = redis.call('HGET', PASTS, field)
        redis.call('HDEL', PASTS, field)
        if under then redis.call('HSET', PASTS, name, below - 1 .. ':' .. under) else redis.call('HDEL', PASTS, name) end
      end
      return sound(past)
    end
    local few = redis.call('HGET', HISTORY, name)
    if not few then return nil end
    local rest, last = string.match(few, '^(.*),([^,]*)$')
    if rest then redis.call('HSET', HISTORY, name, rest) else redis.call('HDEL', HISTORY, name) end
    return sound(last or few)
  end

  return {remember = remember, recall = recall, sound = sound}
end
