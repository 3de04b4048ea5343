-- Names this run of the server; empty where INFO is refused. Joined to the scripts that keep it in a worker's hash: told by the worker, it might
-- be the run of another server than the one that keeps it.
local function server_run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
end
