-- Files records in the indexes by what they say themselves.
--
-- KEYS  1 prefix of the indexes   2 queues   3 expiry, and prefix of its lists   4 prefix of batches
--       5 prefix of jobs   6 prefix of the tallies of batches
-- ARGV  1 for how long an ended job is kept whose expiry is unknown, ms   2 how many states are of
--       jobs that have ended   3 how many states there are   4 most jobs of a batch that may be
--       counted anew   5… the states, those first   … ids
-- Returns how many of the records were filed wrongly.
local time = redis.call('TIME')
local expiry = string.format('%.0f', time[1] * 1000 + ARGV[1])
local count = tonumber(ARGV[3])
local ended, states = {}, {}
for place = 1, count do
    states[place] = ARGV[4 + place]
    ended[states[place]] = place <= tonumber(ARGV[2])
end
local wrong = 0
for place = 5 + count, #ARGV do
    local id = ARGV[place]
    local job = redis.call('HMGET', KEYS[5] .. id, 'head', 'meta')
    local state, when = string.match(job[1] or '', since)
    if job[2] and ended[state] ~= nil then
        local queue, created, batch =
            string.match(job[2], '^([^|]*)|([^|]*)|([^|]*)|')
        local changed = redis.call('SADD', KEYS[2], queue)
        for _, other in ipairs(states) do
            local index = KEYS[1] .. queue .. ':' .. other
            if other == state then
                changed = changed + redis.call('ZADD', index, 'NX', created, id)
            else
                changed = changed + redis.call('ZREM', index, id)
            end
        end
        if batch ~= '' then
            changed = changed + redis.call('ZADD', KEYS[4] .. batch, 'NX', created, id)
        end
        if changed > 0 then
            wrong = wrong + 1
            -- Indexes are written last: what is in them has its expiry.
            if ended[state] then
                redis.call('ZADD', KEYS[3], expiry, expiry)
                redis.call('RPUSH', KEYS[3] .. ':' .. expiry, when, id)
            end
            -- Without its tally, the batch is counted anew at the next look.
            if batch ~= '' and redis.call('ZCARD', KEYS[4] .. batch) <= tonumber(ARGV[4]) then
                redis.call('DEL', KEYS[6] .. batch)
            end
        end
    end
end
return wrong
