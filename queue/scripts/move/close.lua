-- Closes the new place to a move that is abandoned: move/in.lua refuses a batch that is sent later, as of a move that it never knew.
--
-- KEYS  1 arrivals
-- ARGV  1 id of the move
-- Returns  the number of the last batch that arrived, again when it is called again; '' if this place does not know the move
local id = ARGV[1]
local last = redis.call('HGET', KEYS[1], id)
if not last then return redis.call('HGET', KEYS[1], 'closed:' .. id) or '' end
redis.call('HSET', KEYS[1], 'closed:' .. id, last)
redis.call('HDEL', KEYS[1], id, 'newest:' .. id)
return last
