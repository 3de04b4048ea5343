-- One command for many values: Lua's stack does not hold all of them at once. Joined in front of the scripts that move a queue (lua.ts).
local function in_parts(command, key, values, first)
  for from = first or 1, #values, 1000 do
    redis.call(command, key, unpack(values, from, math.min(from + 999, #values)))
  end
end
