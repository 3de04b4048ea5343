-- Finds out which of several queues hold anything that a worker could take.
--
-- KEYS  for each queue, in this order: queue, the worker's wake list, suspects
-- Returns  {position, …} of the queues that do, counted from 1
-- Read-only. A key of another type counts as filled: the turn that follows reports the error.
local found = {}
for i = 1, #KEYS, 3 do
  if redis.call('EXISTS', KEYS[i], KEYS[i + 1], KEYS[i + 2]) > 0 then found[#found + 1] = (i + 2) / 3 end
end
return found
