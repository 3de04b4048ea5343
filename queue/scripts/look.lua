-- Which of several queues hold anything that one worker could take.
--
-- KEYS  for each queue, in this order: queue, the worker's wake list, suspects
-- Returns  {position, …} of those that hold something, counted from 1
-- Reads only, and of a key of another type says that something is there: the turn that comes for it says what is wrong.
local found = {}
for i = 1, #KEYS, 3 do
  if redis.call('EXISTS', KEYS[i], KEYS[i + 1], KEYS[i + 2]) > 0 then found[#found + 1] = (i + 2) / 3 end
end
return found
