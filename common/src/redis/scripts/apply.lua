-- Compare-and-set: writes what a transition says, if the job is still where it was made from.
-- Knows nothing of the rules.
--
-- KEYS  1 job   2 prefix of the indexes   3 expiry   4 prefix of the tallies of batches
--       5 what the job saved (only if that is to be forgotten)
-- ARGV  1 id   2 how its head must begin   3 state it must have   4 state to come
--       5 expires, ms; or '' if it does not; or 'never' if it did, and does not any more
--       6 channel of cancels, or ''   7… fields and values, 'head' among them
-- Returns 1; or nil if there is no record; or the record as HGETALL.
local job = redis.call('HMGET', KEYS[1], 'head', 'meta')
if not job[1] then return false end
if string.sub(job[1], 1, #ARGV[2]) ~= ARGV[2] then return redis.call('HGETALL', KEYS[1]) end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
if ARGV[3] ~= ARGV[4] then
    local queue, created, batch = string.match(job[2], '^[^|]*|([^|]*)|([^|]*)|[^|]*|([^|]*)')
    -- First of all: where it is missing, the indexes are wrong too, which is found out (refile.lua).
    if batch ~= '' then
        redis.call('HINCRBY', KEYS[4] .. batch, ARGV[3] .. '>' .. ARGV[4], 1)
    end
    local index = KEYS[2] .. queue .. ':'
    redis.call('ZREM', index .. ARGV[3], ARGV[1])
    redis.call('ZADD', index .. ARGV[4], created, ARGV[1])
end
if KEYS[5] then redis.call('DEL', KEYS[5]) end
if ARGV[5] == 'never' then
    redis.call('ZREM', KEYS[3], ARGV[1])
elseif ARGV[5] ~= '' then
    redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
end
redis.call('PUBLISH', KEYS[1], '')
if ARGV[6] ~= '' then redis.call('PUBLISH', ARGV[6], '') end
return 1
