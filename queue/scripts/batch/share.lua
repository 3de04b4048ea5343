-- Asks a share of a batch how it stands, or cancels what is left of it, for the partition that has the whole. One that is over says so once more.
--
-- KEYS  1 queue  2 stats
-- ARGV  1 id of the batch  2 queue that has the whole  3 result hash there  4 why it is cancelled, or '' to ask
-- Returns  1 if another partition is to be told something, else 0
local batches = batches_of(KEYS[1], nil, string.sub(KEYS[2], 1, -6))
redis.call('LLEN', KEYS[1])
local b = batches.read(ARGV[1])
if b and b.role ~= 'share' then return 0 end
if ARGV[4] ~= '' then
  -- it may not have begun: then it never does
  b = b or batches.create(ARGV[1], nil, {role = 'share', home = ARGV[2], homeResult = ARGV[3]})
  if not b.over and not b.state then
    batches.check_stop(b)
    batches.stop(b, 'cancelling', ARGV[4])
  end
  batches.conclude_if_done(b)
end
if b and b.over and batches.reports == 0 then batches.report(b) end
return math.min(1, batches.reports)
