-- Queue time, by which leases are measured. Joined in front of the scripts that renew or judge leases (lua.ts).

-- Returns queue time, ms, and whether it is to be written. It advances while Redis accepts writes of this queue, whatever steps the server's
-- clock makes; while Redis is away or refuses writes it advances by `most` at most, within which a healthy worker makes a turn.
local function queue_time(key, now)
  local at, ms, lease = unpack(redis.call('HMGET', key, 'at', 'ms', 'lease'))
  at, ms, lease = tonumber(at), tonumber(ms), tonumber(lease)
  local most = lease and lease > 0 and math.min(2000, lease / 3) or 2000
  -- one that was lost, or is no number, begins anew at the server's time: no lease of before ends later than that
  if not (at and at == at and ms and ms >= 0 and ms < 2 ^ 53) then at, ms = now, now end
  local passed = now - at
  -- written only a few times per lease
  local fresh = math.abs(passed) >= most / 8 or passed == 0
  return fresh and ms + math.max(0, math.min(passed, most)) or ms, fresh
end
