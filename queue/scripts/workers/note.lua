-- Sets fields of a worker's hash, and notes the server that the worker is connected to.
--
-- KEYS  1 worker
-- ARGV  1 epoch  then field, value, …
-- Returns  1; 0 if the worker is fenced, and nothing was changed
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
-- Names this run of the server, empty where INFO is refused. Asked for by the worker, it might be that of another server than the one that
-- keeps it. register.lua has the same two lines.
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
redis.call('HSET', KEYS[1], 'server', server, unpack(ARGV, 2))
return 1
