-- Adds an entry that ends now to the timeline of a pool, once, however often it is sent, and drops those that are too old.
--
-- KEYS  1 timeline
-- ARGV  1 numbers of the entry  2 a random number that it has in its id  3 entries to keep  4 how long, ms  5 retention of the key, s
-- Returns  1; 0 if it is among the newest already
local NEWEST = 10
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', NEWEST)
for _, entry in ipairs(newest) do
  if string.match(entry[1], '%-(%d+)$') == ARGV[2] then return 0 end
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- ids are in order, whatever number is in them
local last = newest[1] and tonumber(string.match(newest[1][1], '^%d+')) or 0
local at = string.format('%.0f', math.max(now, last + 1))
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], at .. '-' .. ARGV[2], 'v', ARGV[1])
-- Redis before 6.2 lacks MINID: there only the length is bounded
redis.pcall('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(0, now - tonumber(ARGV[4]))))
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
