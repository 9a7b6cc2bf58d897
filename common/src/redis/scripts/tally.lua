-- How many jobs of a batch are in each state. Counts anew where the tally does not tell of as many
-- jobs as the batch has: somebody removed records by hand, or an older Haul made them.
--
-- KEYS  1 batch   2 its tally   3 batches   4 prefix of the jobs
-- ARGV  1 batch   2 most jobs that may be counted anew: the server does nothing else meanwhile
-- Returns {created of its first job, ms, state, count, …}; or nothing if no job of it is known.
local jobs = redis.call('ZCARD', KEYS[1])
local tally, sum = redis.call('HGETALL', KEYS[2]), 0
for place = 2, #tally, 2 do sum = sum + tally[place] end
if sum ~= jobs and jobs <= tonumber(ARGV[2]) then
    local counts = {}
    for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        local head = redis.call('HGET', KEYS[4] .. id, 'head')
        if head then
            local state = string.match(head, '^[^|]*')
            counts[state] = (counts[state] or 0) + 1
        else
            redis.call('ZREM', KEYS[1], id)
        end
    end
    redis.call('DEL', KEYS[2])
    for state, count in pairs(counts) do redis.call('HSET', KEYS[2], state, count) end
    tally = redis.call('HGETALL', KEYS[2])
end
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[2])
    redis.call('ZREM', KEYS[3], ARGV[1])
    return {}
end
local created = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not created then
    created = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
    redis.call('ZADD', KEYS[3], created, ARGV[1])
end
table.insert(tally, 1, created)
return tally
