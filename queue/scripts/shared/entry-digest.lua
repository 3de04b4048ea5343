-- Identifies an entry of the list of dead letters. Joined in front of the scripts that show or move such entries (lua.ts).
local function entry_digest(entry)
  if #entry > 4096 then entry = #entry .. string.sub(entry, 1, 1024) .. string.sub(entry, -1024) end
  return redis.sha1hex(entry)
end
