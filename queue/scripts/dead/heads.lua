-- Reads the beginnings of the newest dead letters: enough to show them, bounded whatever size clients gave them.
--
-- KEYS  1 dead
-- ARGV  1 maximum number  2 maximum length of a header, bytes  3 maximum length of a task, bytes
-- Returns  for each, newest first: {header line, first bytes of the task, length of the task, digest that identifies the entry};
--          for an entry that is no dead letter, its first bytes as the header, an empty task and length -1. Fewer entries if they are
--          large: Redis copies each of them whole, which blocks it.
local MOST_BYTES = 32 * 1024 * 1024

-- a header with its id and error truncated
local function shortened(header)
  local at, text = string.match(header, '^(%d+) (.*)$')
  local read, about = pcall(cjson.decode, text)
  if not read or type(about) ~= 'table' then return header end
  local short = {worker = string.sub(tostring(about.worker), 1, 256), error = string.sub(tostring(about.error), 1, 1024)}
  short.attempts, short.deliveries = tonumber(about.attempts), tonumber(about.deliveries)
  if about.id then short.id = string.sub(tostring(about.id), 1, 512) end
  -- 1e999 can be read, and not written
  local written, line = pcall(cjson.encode, short)
  return written and string.sub(at, 1, 16) .. ' ' .. line or header
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
