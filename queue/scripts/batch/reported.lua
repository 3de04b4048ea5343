-- Forgets a report that has arrived, unless there has been another one since.
--
-- KEYS  1 reports  2 ids of the parts that tasks added to the share
-- ARGV  1 id of the batch  2 number of the report  3 1 if the share is over
-- what something else wrote may be longer than what is read of it (batch-reports.ts)
if string.sub(redis.call('HGET', KEYS[1], ARGV[1]) or '', 1, 2048) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
if ARGV[3] == '1' then redis.call('UNLINK', KEYS[2]) end
return 1
