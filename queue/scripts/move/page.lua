-- A page of a hash of results or errors that is moved, with the time that each has left.
--
-- KEYS  1 hash
-- ARGV  1 cursor  2 number of fields, approximately
-- Returns  {next cursor, '0' at the end; {field, value, ms left or -1, …}}
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local fields, found = {}, {}
for i = 1, #page[2], 2 do fields[#fields + 1] = page[2][i] end
for from = 1, #fields, 1000 do
  local to = math.min(from + 999, #fields)
  -- Redis >= 7.4, Valkey >= 9
  local left = redis.pcall('HPTTL', KEYS[1], 'FIELDS', to - from + 1, unpack(fields, from, to))
  for i = from, to do
    local ms = not left.err and left[i - from + 1] or -1
    -- -2: it has expired since
    if ms ~= -2 then
      found[#found + 1], found[#found + 2], found[#found + 3] = fields[i], page[2][2 * i], ms
    end
  end
end
return {page[1], found}
