-- The beginnings of the newest dead letters: enough to show them, and nothing of a size that a client chooses.
--
-- KEYS  1 dead
-- ARGV  1 how many  2 the most bytes of a header  3 the most bytes of a task
-- Returns  for each, newest first: {the line before the task, the first bytes of the task, the length of the task, a digest that
--          tells it from others}; of what is no letter, its first bytes as the line, and no task. Fewer, when they are large:
--          Redis copies each of them whole, and does nothing else meanwhile.
local MOST_BYTES = 32 * 1024 * 1024

-- a header whose id or error is long says the same with less of them
local function shortened(header)
  local at, text = string.match(header, '^(%d+) (.*)$')
  local read, about = pcall(cjson.decode, text)
  if not read or type(about) ~= 'table' then return header end
  local short = {worker = string.sub(tostring(about.worker), 1, 256), error = string.sub(tostring(about.error), 1, 1024)}
  short.attempts, short.deliveries = tonumber(about.attempts), tonumber(about.deliveries)
  if about.id then short.id = string.sub(tostring(about.id), 1, 512) end
  return string.sub(at, 1, 16) .. ' ' .. cjson.encode(short)
end

-- as in move.lua
local function entry_digest(entry)
  if #entry > 4096 then entry = #entry .. string.sub(entry, 1, 1024) .. string.sub(entry, -1024) end
  return redis.sha1hex(entry)
end

local heads, copied = {}, 0
for i = 0, tonumber(ARGV[1]) - 1 do
  local entry = redis.call('LINDEX', KEYS[1], i)
  if not entry then break end
  local header, task = string.match(entry, '^(%d+ {[^\n]*)\n()')
  if header and #header > tonumber(ARGV[2]) then header = shortened(header) end
  heads[i + 1] = {
    string.sub(header or entry, 1, tonumber(ARGV[2])),
    task and string.sub(entry, task, task + tonumber(ARGV[3]) - 1) or '',
    task and #entry - task + 1 or -1,
    entry_digest(entry),
  }
  copied = copied + #entry
  if copied > MOST_BYTES then break end
end
return heads
