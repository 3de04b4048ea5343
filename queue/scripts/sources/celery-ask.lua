-- Asks all Celery workers questions by their remote control, and returns what they have answered to these and those before.
-- Their answers come later, into a list of ours that they are told the name of.
--
-- KEYS  1 the list of answers, newest first, and behind them `asked:TIME:WORKERS` for the last time of asking
-- ARGV  1 the channel of the remote control  2 the one where workers listen that do not listen there
--       3 the least time since the last questions, ms; less than 0: ask nothing
--       4 the most bytes of an answer's body; 0: no answers  5 after how many seconds without questions the list expires
--       6 … the questions, in which `@now@` stands for the time of Redis in ms
-- Returns  {Redis time in ms, when the last questions were asked or 0, how many workers they have reached,
--          {for each answer: its ticket, its body as far as it is returned, the bytes of the whole body}}
-- Answers may be of questions from before the clock was set back: their tickets have times that are still to come.
-- After  each worker that listens answers into the list. Nothing is written where none does
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local least, longest, ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local questions = #ARGV - 5

local function publish(message)
  local reached = redis.call('PUBLISH', ARGV[1], message)
  if reached > 0 then return reached end
  -- a user may have the right to the first alone
  local elsewhere = redis.pcall('PUBLISH', ARGV[2], message)
  return type(elsewhere) == 'number' and elsewhere or 0
end

local last = redis.call('LINDEX', KEYS[1], -1)
local asked, workers = string.match(last or '', '^asked:(%d+):(%d+)$')
asked, workers = tonumber(asked or 0), tonumber(workers or 0)
-- The clock was set back, or something else wrote it: by the times of those answers, no later one would ever be newer.
if asked > now then
  if least < 0 then return {now, 0, 0, {}} end
  redis.call('DEL', KEYS[1])
  asked, workers, last = 0, 0, nil
end

-- who asks in the same millisecond gets the same answers: by their tickets, each worker has one to each question
if least >= 0 and now - asked >= math.max(least, 1) then
  for i = 6, #ARGV do
    local message = string.gsub(ARGV[i], '@now@', string.format('%.0f', now))
    workers = publish(message)
    if workers == 0 then break end
  end
  asked = now
  if workers == 0 then
    if last then redis.call('DEL', KEYS[1]) end
  else
    -- one answer of each to each question is enough until the new ones are there
    redis.call('LTRIM', KEYS[1], 0, questions * workers - 1)
    redis.call('RPUSH', KEYS[1], string.format('asked:%.0f:%d', now, workers))
    redis.call('EXPIRE', KEYS[1], ttl)
  end
end

local answers = {}
if workers == 0 or longest == 0 then return {now, asked, workers, answers} end
for _, answer in ipairs(redis.call('LRANGE', KEYS[1], 0, 2 * questions * workers)) do
  local ticket, body = string.match(answer, '"ticket": *"([^"]*)"'), string.match(answer, '^{"body": *"([^"]*)"')
  if ticket and body then
    answers[#answers + 1] = string.sub(ticket, 1, 64)
    answers[#answers + 1] = string.sub(body, 1, longest)
    answers[#answers + 1] = #body
  end
end
return {now, asked, workers, answers}
