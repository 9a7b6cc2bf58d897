-- How many jobs of a batch are in each state: those that came into it, less those that left. Counts
-- anew where that cannot be, or is not as many as the batch has jobs: somebody removed records by
-- hand, or an older Haul made them.
--
-- KEYS  1 batch   2 its tally   3 batches   4 prefix of the jobs
-- ARGV  1 batch   2 most jobs that may be counted anew: the server does nothing else meanwhile
-- Returns {created of its first job, ms, state, count, …}; or nothing if no job of it is known.
local jobs, sum, counts = redis.call('ZCARD', KEYS[1]), 0, {}
local tally = redis.call('HGETALL', KEYS[2])
for place = 1, #tally, 2 do
    local from, to = string.match(tally[place], '^([^>]*)>(.*)$')
    local moved = tonumber(tally[place + 1])
    if from == '' then sum = sum + moved else counts[from] = (counts[from] or 0) - moved end
    if to == '' then sum = sum - moved else counts[to] = (counts[to] or 0) + moved end
end
local wrong = sum ~= jobs
for _, count in pairs(counts) do wrong = wrong or count < 0 end
if wrong and jobs <= tonumber(ARGV[2]) then
    counts = {}
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
    for state, count in pairs(counts) do redis.call('HSET', KEYS[2], '>' .. state, count) end
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
local answer = { created }
for state, count in pairs(counts) do
    answer[#answer + 1] = state
    answer[#answer + 1] = count
end
return answer
