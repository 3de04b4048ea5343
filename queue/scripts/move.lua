-- Moves dead letters where they are, so that no task leaves Redis: back to the queue as new tasks, or away. It looks through the
-- list from its oldest end, a piece at a time.
--
-- KEYS  1 queue  2 dead  3 errors  4 cancelled
-- ARGV  1 'requeue' or 'drop'  2 how many to look at  3 how many of the oldest were looked at before and stayed
--       4 … digests of the entries meant; without any, all
-- Returns  {moved, looked at and left, whether the list is through}; of large ones it looks at fewer
-- After: as letter.lua, for each. What is no letter of ours is left where it is.
local MOST_BYTES = 32 * 1024 * 1024

-- as in heads.lua
local function entry_digest(entry)
  if #entry > 4096 then entry = #entry .. string.sub(entry, 1, 1024) .. string.sub(entry, -1024) end
  return redis.sha1hex(entry)
end

local requeue = ARGV[1] == 'requeue'
if requeue then redis.call('LLEN', KEYS[1]) end -- a queue key of another type ends it here, before anything was moved
local wanted
if ARGV[4] then
  wanted = {}
  for i = 4, #ARGV do wanted[ARGV[i]] = true end
end
local moved, stayed, skipped, copied = 0, 0, tonumber(ARGV[3]), 0
for _ = 1, tonumber(ARGV[2]) do
  local entry = redis.call('LINDEX', KEYS[2], -1 - skipped - stayed)
  if not entry then return {moved, stayed, 1} end
  local header, raw = string.match(entry, '^%d+ ([^\n]*)\n(.*)$')
  local read, about = pcall(cjson.decode, header or '')
  local ours = read and type(about) == 'table'
  if ours and (not wanted or wanted[entry_digest(entry)]) then
    local id = type(about.id) == 'string' and about.id or raw
    redis.call('LREM', KEYS[2], -1, entry)
    if requeue then
      redis.call('LPUSH', KEYS[1], raw)
      redis.call('ZREM', KEYS[4], id)
      redis.call('HDEL', KEYS[3], id)
    elseif redis.call('HGET', KEYS[3], id) == header then
      redis.call('HDEL', KEYS[3], id)
    end
    moved = moved + 1
  else
    stayed = stayed + 1
  end
  copied = copied + #entry
  if copied > MOST_BYTES then break end
end
return {moved, stayed, 0}
