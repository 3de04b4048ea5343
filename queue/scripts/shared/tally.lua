-- Adds to a counter. One that is no number, or beyond 2^53, because something else wrote it, begins anew: an error here, after the other
-- writes of a script, would stop all that follow. Joined in front of the scripts that count (lua.ts).
local function tally(key, field, by)
  local sum = redis.pcall('HINCRBY', key, field, by)
  if type(sum) ~= 'number' or math.abs(sum) > 2 ^ 53 then
    redis.pcall('HSET', key, field, math.max(by, 0))
  end
end
