-- Requeues or drops many dead letters without transferring them to a client. It goes through the list from its oldest end, a
-- batch per call.
--
-- KEYS  1 queue  2 dead  3 errors  4 cancelled  5 answers
-- ARGV  1 'requeue' or 'drop'  2 entries to examine  3 entries at the oldest end that were examined before and left
--       4 … digests of the entries to move; none for all  then the request, as in once.lua
-- Returns  {moved, examined and left, 1 at the end of the list}; it examines fewer entries if they are large
-- After: as letter.lua, for each. Entries that are no dead letters of ours are left.
local MOST_BYTES = 4 * 1024 * 1024

local requeue = ARGV[1] == 'requeue'
check_queue(requeue)
local wanted
if #ARGV > 4 then
  wanted = {}
  for i = 4, #ARGV - 1 do wanted[ARGV[i]] = true end
end
local batches
local moved, stayed, skipped, copied, ended = 0, 0, tonumber(ARGV[3]), 0, 0
for _ = 1, tonumber(ARGV[2]) do
  local entry = redis.call('LINDEX', KEYS[2], -1 - skipped - stayed)
  if not entry then
    ended = 1
    break
  end
  local header, raw = string.match(entry, '^%d+ ([^\n]*)\n(.*)$')
  local read, about = pcall(cjson.decode, header or '')
  local ours = read and type(about) == 'table'
  if ours and (not wanted or wanted[entry_digest(entry)]) then
    local id = type(about.id) == 'string' and about.id or raw
    if about.batch then batches = batches or batches_of(KEYS[1], nil, string.sub(KEYS[2], 1, -5)) end
    check_letter(requeue, about, batches)
    redis.call('LREM', KEYS[2], -1, entry)
    if requeue then
      if about.expired then reprieve(raw) end
      if type(about.unique) == 'string' then uniques_of(string.sub(KEYS[2], 1, -5)).again(about.unique, id) end
      redis.call('LPUSH', KEYS[1], raw)
      redis.call('ZREM', KEYS[4], id)
      redis.call('HDEL', KEYS[3], id)
    elseif redis.call('HGET', KEYS[3], id) == header then
      redis.call('HDEL', KEYS[3], id)
    end
    if about.batch then batches[requeue and 'retry' or 'give_up'](about.batch, id) end
    moved = moved + 1
  else
    stayed = stayed + 1
  end
  copied = copied + #entry
  if copied > MOST_BYTES then break end
end
local reply = {moved, stayed, ended}
return moved > 0 and answer(reply) or reply
