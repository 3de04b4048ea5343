-- Joined in front of the scripts that requeue or drop dead letters (lua.ts), whose first four keys are queue, dead letters, errors and
-- cancelled. An error after a letter has left the list would lose its task, so these raise one before that, where a key that moving it
-- needs has another type.
local function check_queue(requeue)
  if requeue then redis.call('LLEN', KEYS[1]) end
  redis.call('HLEN', KEYS[3])
  if requeue then redis.call('ZCARD', KEYS[4]) end
end

-- `about`: the header of the letter.
local function check_letter(requeue, about, batches)
  local base = string.sub(KEYS[2], 1, -5)
  if requeue and about.expired then
    redis.call('HLEN', base .. 'history')
    redis.call('HLEN', base .. 'pasts')
  end
  local batch = type(about.batch) == 'string' and batches.read(about.batch)
  if not batch or batch.over then return end
  if requeue then redis.call('SCARD', base .. 'batch-failed:' .. batch.id) else batches.check_stop(batch) end
end
