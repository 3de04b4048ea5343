-- Sets fields of a worker's hash, and notes the server that the worker is connected to.
--
-- KEYS  1 worker
-- ARGV  1 epoch  then field, value, …
-- Returns  1; 0 if the worker is fenced, and nothing was changed
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
-- Redis allows this when memory is short, and then the rest too
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'server', server_run(), unpack(ARGV, 2))
return 1
