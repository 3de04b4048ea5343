-- A dead letter that had expired and is requeued: it gets a past of no attempts and no deliveries, by which workers know that it was begun
-- or let go once, so that it does not expire again. Joined in front of the scripts that requeue (lua.ts), whose second key is the
-- list of dead letters. To be called before the task is in the queue.
local BASE = string.sub(KEYS[2], 1, -5)
local remember = pasts_of(BASE .. 'history', BASE .. 'pasts').remember

local function reprieve(raw) remember(raw, '0:0') end
