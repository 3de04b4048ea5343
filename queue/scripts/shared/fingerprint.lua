-- Tells a value from a later one under the same id. Joined in front of the scripts that write or read the expiry set (lua.ts).
local function fingerprint(value)
  if #value > 4096 then value = #value .. string.sub(value, 1, 64) .. string.sub(value, -64) end
  return string.sub(redis.sha1hex(value), 1, 16)
end
