-- Puts held tasks back to the front of the queue, those of one key in their order. To be called until it returns 0.
--
-- KEYS  1 queue  2 limits  3 history  4 pasts
-- ARGV  1 prefix of the queue's keys  2 tasks to put back
-- Returns  how many were: fewer, if they are large
-- After the last one, nothing is left of limits that were removed.
local HISTORY, PASTS = KEYS[3], KEYS[4]
local remember = pasts_of(HISTORY, PASTS).remember
local call = redis.call
local slots = slots_of(ARGV[1])
call('LLEN', KEYS[1]) -- fails here, before any write, if a key has another type
call('HLEN', HISTORY)
call('HLEN', PASTS)

local most, moved, room = tonumber(ARGV[2]), 0, 2 * 1024 * 1024
while moved < most and room > 0 do
  local key = call('ZRANGE', slots.HELD, 0, 0)[1]
  if not key then break end
  local list = ARGV[1] .. 'held-tasks:' .. key
  -- the newest first, so that the oldest ends up outermost
  local entries = redis.pcall('LRANGE', list, 0, math.min(most - moved, 8) - 1)
  -- of another type: not ours
  local fit = not entries.err
  if fit then call('LTRIM', list, #entries, -1) else entries = {} end
  for _, entry in ipairs(entries) do
    local past, raw = string.match(entry, '^([^|]*)|(.*)$')
    if past and past ~= '' then remember(raw, past) end
    call('RPUSH', KEYS[1], past and raw or entry)
    room = room - #entry
  end
  moved = moved + #entries
  if #entries > 0 then call('HINCRBY', slots.STATE, 'held', -#entries) end
  local left = fit and call('LLEN', list) or 0
  if left > 0 then call('ZADD', slots.HELD, left, key)
  else
    call('ZREM', slots.HELD, key)
    call('ZREM', slots.DUE, key)
  end
end
if call('EXISTS', slots.HELD) == 0 and call('HEXISTS', KEYS[2], 'removed') == 1 then
  call('DEL', KEYS[2], slots.STATE, slots.SLOTS, slots.RUNNING, slots.DUE)
end
return moved
