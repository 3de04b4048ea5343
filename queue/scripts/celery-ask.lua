-- Asks all Celery workers a question by their remote control, and returns what they have answered to this one and those before.
-- Their answers come later, into a list of ours that they are told the name of.
--
-- KEYS  1 the list of answers, newest first, and behind them `asked:TIME:WORKERS` for the last question
-- ARGV  1 the channel of the remote control  2 the message, in which `@now@` stands for the time of Redis in ms
--       3 the least time since the last question, ms; less than 0: ask nothing  4 the most bytes of an answer's body
--       5 after how many seconds without a question the list expires
-- Returns  {Redis time in ms, when the last question was asked or 0, how many workers it has reached,
--          {for each answer: its ticket, its body as far as it is returned, 1 if that is whole}}
-- After  each worker that listens answers into the list. Nothing is written where none does
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local least, longest, ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local last = redis.call('LINDEX', KEYS[1], -1)
local asked, workers = string.match(last or '', '^asked:(%d+):(%d+)$')
asked, workers = tonumber(asked or 0), tonumber(workers or 0)

if least >= 0 and now - asked >= least then
  workers = redis.call('PUBLISH', ARGV[1], (string.gsub(ARGV[2], '@now@', string.format('%.0f', now))))
  asked = now
  if workers == 0 then
    redis.call('DEL', KEYS[1])
  else
    -- one answer of each is enough until the new ones are there
    redis.call('LTRIM', KEYS[1], 0, workers - 1)
    redis.call('RPUSH', KEYS[1], string.format('asked:%.0f:%d', now, workers))
    redis.call('EXPIRE', KEYS[1], ttl)
  end
end

local answers = {}
for _, answer in ipairs(redis.call('LRANGE', KEYS[1], 0, 2 * workers)) do
  local ticket, body = string.match(answer, '"ticket": *"([^"]*)"'), string.match(answer, '^{"body": *"([^"]*)"')
  if ticket and body then
    answers[#answers + 1] = string.sub(ticket, 1, 64)
    answers[#answers + 1] = string.sub(body, 1, longest)
    answers[#answers + 1] = #body <= longest and 1 or 0
  end
end
return {now, asked, workers, answers}
