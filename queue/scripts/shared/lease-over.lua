-- Whether a lease has expired: by queue time, or for workers of earlier versions by the server's clock. An operator may end a
-- lease with a deadline of 0 or 1. Joined in front of the scripts that look for such leases (lua.ts).
local function is_over(deadline, till, now, ms)
  if till and deadline > 1 then return till <= ms end
  return deadline <= now
end
