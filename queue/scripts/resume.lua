-- Ends the pause of a queue. Joined behind once.lua.
--
-- KEYS  1 paused  2 answers
-- ARGV  1 the request, as in once.lua
-- Returns  1; 0 if it was not paused
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
return answer(1)
