-- Forgets jobs whose retention is over: records, what they saved, and index entries together.
--
-- KEYS  1 expiry   2 prefix of the indexes   3 of jobs   4 of what they saved   5 of batches
--       6 of their tallies   7 batches
-- ARGV  1 how many at most   2… states of jobs that have ended
-- Returns {how many entries it met, how many records it removed}.
--
-- Nothing else removes a record. If somebody did so by hand, the job may have been made anew; then
-- it stays. Index entries without a record are left to prune.lua.
local ended = {}
for place = 2, #ARGV do ended[ARGV[place]] = true end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local removed = 0
for _, id in ipairs(due) do
    local job = redis.call('HMGET', KEYS[3] .. id, 'head', 'meta')
    local state = job[1] and string.match(job[1], '^[^|]*')
    if ended[state] then
        local queue, batch = string.match(job[2], '^[^|]*|([^|]*)|[^|]*|[^|]*|([^|]*)')
        redis.call('ZREM', KEYS[2] .. queue .. ':' .. state, id)
        if batch ~= '' then
            redis.call('ZREM', KEYS[5] .. batch, id)
            redis.call('HINCRBY', KEYS[6] .. batch, state .. '>', 1)
            if redis.call('EXISTS', KEYS[5] .. batch) == 0 then
                redis.call('DEL', KEYS[6] .. batch)
                redis.call('ZREM', KEYS[7], batch)
            end
        end
        redis.call('DEL', KEYS[3] .. id, KEYS[4] .. id)
        removed = removed + 1
    end
    redis.call('ZREM', KEYS[1], id)
end
return {#due, removed}
