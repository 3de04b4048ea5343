-- Stores the decisions of a pool in their new place, unless that has some: its own, or these, if the reply was lost and they are sent again.
--
-- KEYS  1 decisions
-- ARGV  the decisions, a hundred or so, the newest first
-- Returns  1; 0 if there are some
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('RPUSH', KEYS[1], unpack(ARGV))
return 1
