-- Forgets jobs whose retention is over: records, what they saved, and index entries together.
--
-- KEYS  1 expiry   2 prefix of the indexes   3 of jobs   4 of what they saved   5 of batches
-- ARGV  1 how many at most
-- Returns {how many entries it met, how many records it removed}.
--
-- A member says queue:state:batch:id, so the entries go even where the record went by itself. A
-- record in another state than its member says was made anew; it stays.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local removed = 0
for _, member in ipairs(due) do
    local queue, state, batch, id = string.match(member, '^([^:]*):([^:]*):([^:]*):(.*)$')
    redis.call('ZREM', KEYS[1], member)
    if id then
        local job = KEYS[3] .. id
        local known = redis.call('HGET', job, 'state')
        redis.call('ZREM', KEYS[2] .. queue .. ':' .. state, id)
        if not known or known == state then
            redis.call('DEL', job, KEYS[4] .. id)
            if batch ~= '' then redis.call('ZREM', KEYS[5] .. batch, id) end
            removed = removed + 1
        end
    end
end
return {#due, removed}
