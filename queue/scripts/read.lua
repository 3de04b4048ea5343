-- Runs a read-only command and truncates the texts in its reply: clients may write texts of any length.
--
-- KEYS  1 the key to read
-- ARGV  1 maximum length of a text, bytes  2 maximum number of texts and numbers in the reply  3 command
--       4 … its arguments after the key
-- Returns  the reply of the command, truncated. GET reads no more than it returns. LRANGE reads one element at a time; both of
--          its indexes must count from the same end.
local longest, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local command = ARGV[3]

local function cut(value)
  if type(value) == 'string' then
    left = left - 1
    return string.sub(value, 1, longest)
  end
  if type(value) ~= 'table' then
    left = left - 1
    return value
  end
  local cuts = {}
  for i, one in ipairs(value) do
    if left <= 0 then break end
    cuts[i] = cut(one)
  end
  return cuts
end

if command == 'GET' then
  if redis.call('EXISTS', KEYS[1]) == 0 then return false end
  local part = redis.pcall('GETRANGE', KEYS[1], 0, longest - 1)
  -- a user that was set up for an earlier version may lack the permission; GET needs more of the server's memory
  return type(part) == 'string' and part or cut(redis.call('GET', KEYS[1]))
end
if command == 'LRANGE' then
  local found = {}
  for i = tonumber(ARGV[4]), tonumber(ARGV[5]) do
    local element = redis.call('LINDEX', KEYS[1], i)
    if not element or left <= 0 then break end
    found[#found + 1] = cut(element)
  end
  return found
end
return cut(redis.call(command, KEYS[1], unpack(ARGV, 4)))
