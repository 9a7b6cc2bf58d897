-- Begins each script that takes many calls in one. What belongs to a job is written call by call;
-- indexes, tallies and words to watchers are gathered, and written once for all: they would be most
-- of the work.
--
-- KEYS    1 prefix of jobs   2 of the indexes   3 expiry, and prefix of its lists
--         4 prefix of the tallies of batches   5… what else the script needs
-- ARGV    for each call: how many values it has, and those; the first is the job's id
-- Returns for each call an answer, in order. An error is the answer to its own call alone.
local gone, come, over, counted, told, met = {}, {}, {}, {}, {}, {}

local function remove(index, id)
    local ids = gone[index] or {}
    gone[index] = ids
    ids[#ids + 1] = id
end

local function gather(lists, name, number, id)
    local entries = lists[name] or {}
    lists[name] = entries
    local size = #entries
    entries[size + 1], entries[size + 2] = number, id
end

local function add(index, score, id) gather(come, index, score, id) end

-- What ended at `finished` may be forgotten at `time`. Nobody takes that back when the job goes round
-- once more: it then ends at another time, and this counts for nothing (expire.lua).
local function forget(time, finished, id) gather(over, time, finished, id) end

-- A job of this batch goes from one state to another.
local function count(batch, step)
    local steps = counted[batch] or {}
    counted[batch] = steps
    steps[step] = (steps[step] or 0) + 1
end

-- Whoever watches this channel is to look again.
local function tell(channel) told[#told + 1] = channel end

local function write()
    -- Indexes last: where a server lost what is before them, they are wrong too, which is found out
    -- (refile.lua).
    for time, entries in pairs(over) do
        local list = KEYS[3] .. ':' .. time
        if redis.call('EXISTS', list) == 0 then redis.call('ZADD', KEYS[3], time, time) end
        redis.call('RPUSH', list, unpack(entries))
    end
    for batch, steps in pairs(counted) do
        for step, times in pairs(steps) do redis.call('HINCRBY', KEYS[4] .. batch, step, times) end
    end
    for index, ids in pairs(gone) do redis.call('ZREM', index, unpack(ids)) end
    for index, entries in pairs(come) do redis.call('ZADD', index, unpack(entries)) end
    gone, come, over, counted, met = {}, {}, {}, {}, {}
end

-- Few are watched, and to ask costs less than to speak.
local function publish()
    if #told == 0 then return end
    local everybody = redis.call('PUBSUB', 'NUMPAT') > 0
    local heard = redis.call('PUBSUB', 'NUMSUB', unpack(told))
    for place = 1, #heard, 2 do
        if everybody or heard[place + 1] > 0 then redis.call('PUBLISH', heard[place], '') end
    end
end

local function each(call)
    local answers, place = {}, 1
    while place <= #ARGV do
        local id, last = ARGV[place + 1], place + ARGV[place]
        -- What is gathered has no order, so that each job is in it once.
        if met[id] then write() end
        met[id] = true
        local fine, answer = pcall(call, id, place + 1, last)
        if not fine then
            local why = type(answer) == 'table' and answer.err or tostring(answer)
            -- What the server refuses has a code. What has none, this code could not read.
            answer = { err = string.find(why, '^%u+ ') and why or 'CORRUPT ' .. why }
        end
        answers[#answers + 1] = answer
        place = last + 1
    end
    write()
    publish()
    return answers
end

