-- Forgets jobs whose retention is over: records, what they saved, and index entries together.
--
-- KEYS  1 expiry, and prefix of its lists   2 prefix of the indexes   3 of jobs   4 of what they saved
--       5 of batches   6 of their tallies   7 batches
-- ARGV  1 how many at most   2… states of jobs that have ended
-- Returns {how many entries it met, how many records it removed}.
--
-- An entry counts for the end that it was made for: a job that went round again has another one, or
-- will. Index entries without a record are left to prune.lua.
local ended = {}
for place = 2, #ARGV do ended[ARGV[place]] = true end

local function drop(id, state, meta)
    local queue, batch = string.match(meta or '', '^([^|]*)|[^|]*|([^|]*)|')
    -- What cannot be read goes all the same: prune.lua sees to its index.
    if queue then redis.call('ZREM', KEYS[2] .. queue .. ':' .. state, id) end
    if batch and batch ~= '' then
        redis.call('ZREM', KEYS[5] .. batch, id)
        redis.call('HINCRBY', KEYS[6] .. batch, state .. '>', 1)
        if redis.call('EXISTS', KEYS[5] .. batch) == 0 then
            redis.call('DEL', KEYS[6] .. batch)
            redis.call('ZREM', KEYS[7], batch)
        end
    end
    redis.call('DEL', KEYS[3] .. id, KEYS[4] .. id)
end

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local left, met, removed = tonumber(ARGV[1]), 0, 0
while met < left do
    local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)[1]
    if not due then break end
    local list = KEYS[1] .. ':' .. due
    local entries = redis.call('LPOP', list, 2 * (left - met)) or {}
    for place = 1, #entries, 2 do
        local finished, id = entries[place], entries[place + 1]
        local job = redis.call('HMGET', KEYS[3] .. id, 'head', 'meta')
        local state, when = string.match(job[1] or '', since)
        if ended[state] and when == finished then
            drop(id, state, job[2])
            removed = removed + 1
        end
        met = met + 1
    end
    if redis.call('EXISTS', list) == 0 then redis.call('ZREM', KEYS[1], due) end
end
return { met, removed }
