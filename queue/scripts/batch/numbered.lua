-- The parts of a batch that are called ID:0, ID:1, …, as the library names them, and have not ended. To find them by their numbers costs Redis much
-- less than by their ids in a set. Joined in front of batches.lua.
--
-- The hash `batch-numbered:ID` has them in blocks of 1,000: its field B is a text with a character for each part from B * 1000 on, '1' until
-- it has ended. A block in which all have ended is not there.
--
-- `key`: of the hash. `name`: what the ids begin with, 'ID:'. Runs are ascending: where each begins, and its length.
local function numbered_of(key, name)
  local call, BLOCK = redis.call, 1000
  local self = {}

  local function id_of(number) return string.format('%s%.0f', name, number) end

  local function part_number(id)
    if string.sub(id, 1, #name) ~= name then return nil end
    local number = #id < #name + 10 and tonumber(string.match(id, '^%d+$', #name + 1))
    return number and id_of(number) == id and number or nil
  end

  -- Calls `visit` with the number of a block, where the run begins in it, from 0, and how many of its parts belong to the run.
  local function each_block(first, count, visit)
    while count > 0 do
      local from = first % BLOCK
      local some = math.min(count, BLOCK - from)
      visit((first - from) / BLOCK, from, some)
      first, count = first + some, count - some
    end
  end

  self.ids = function(runs)
    local ids = {}
    for run = 1, #runs, 2 do
      for number = runs[run], runs[run] + runs[run + 1] - 1 do ids[#ids + 1] = id_of(number) end
    end
    return ids
  end

  -- Which of these ids may be numbered ones, as runs, and the others.
  local function split(ids)
    local numbers, others, runs = {}, {}, {}
    for _, id in ipairs(ids) do
      local number = part_number(id)
      if number then numbers[#numbers + 1] = number else others[#others + 1] = id end
    end
    table.sort(numbers)
    for i, number in ipairs(numbers) do
      if number ~= numbers[i - 1] then runs[#runs + 1], runs[#runs + 2] = number, 1 end
    end
    return runs, others
  end

  local function has(id)
    local number = part_number(id)
    if not number then return false end
    local from = number % BLOCK
    local text = call('HGET', key, (number - from) / BLOCK)
    return text and string.sub(text, from + 1, from + 1) == '1' or false
  end

  -- Those of these ids that have not ended, each once. `named`: those that the set has.
  self.unended = function(ids, named)
    local some, state = {}, {}
    for _, id in ipairs(named) do state[id] = 'left' end
    for _, id in ipairs(ids) do
      if state[id] ~= 'seen' and (state[id] or has(id)) then
        state[id] = 'seen'
        some[#some + 1] = id
      end
    end
    return some
  end

  -- Adds parts, from this number on.
  self.add = function(first, count)
    each_block(first, count, function(at, from, some)
      local text = call('HGET', key, at) or ''
      local before = string.sub(text, 1, from)
      call('HSET', key, at,
        before .. string.rep('0', from - #before) .. string.rep('1', some) .. string.sub(text, from + some + 1))
    end)
  end

  -- Ends parts. Adds the ids of those that had ended to `others`. Returns the number of those that had not.
  local function finish_runs(runs, others)
    local blocks, gone = {}, 0
    for run = 1, #runs, 2 do
      each_block(runs[run], runs[run + 1], function(at, from, some)
        local block = blocks[#blocks]
        if not block or block.at ~= at then
          block = {at = at, text = call('HGET', key, at) or '', pieces = {}, done = 0}
          blocks[#blocks + 1] = block
        end
        local here = string.sub(block.text, from + 1, from + some)
        if here == string.rep('1', some) then
          gone = gone + some
        else
          for i = 1, some do
            if string.sub(here, i, i) == '1' then gone = gone + 1
            else others[#others + 1] = id_of(at * BLOCK + from + i - 1) end
          end
        end
        local pieces = block.pieces
        pieces[#pieces + 1] = string.sub(block.text, block.done + 1, from)
        pieces[#pieces + 1] = string.rep('0', #here)
        block.done = from + some
      end)
    end
    for _, block in ipairs(blocks) do
      local text = table.concat(block.pieces) .. string.sub(block.text, block.done + 1)
      if not string.find(text, '1', 1, true) then call('HDEL', key, block.at)
      elseif text ~= block.text then call('HSET', key, block.at, text) end
    end
    return gone
  end

  -- Ends parts, by their ids and by their numbers. Returns the number of those that had not ended, and the ids of the others: they had, or
  -- the set has them.
  self.finish = function(ids, runs)
    local named, others = split(ids)
    local gone = finish_runs(named, others)
    return gone + finish_runs(runs, others), others
  end

  -- The ids in some of the blocks, of so many parts if there are, and where to go on. `cursor`: '0' to begin.
  self.some = function(cursor, most)
    local ids = {}
    for _ = 1, 100 do
      local scan = call('HSCAN', key, cursor, 'COUNT', 1)
      cursor = scan[1]
      for i = 1, #scan[2], 2 do
        local at = tonumber(scan[2][i])
        for place in string.gmatch(at and scan[2][i + 1] or '', '()1') do ids[#ids + 1] = id_of(at * BLOCK + place - 1) end
      end
      if #ids >= most or cursor == '0' then break end
    end
    return ids, cursor
  end
  return self
end
