-- Writes a record unless one with its id exists.
--
-- KEYS  1 job   2 index of its queue and state   3 queues   4 expiry
--       5 batch   6 its tally   7 batches (these only if it has one)
-- ARGV  1 id   2 queue   3 created, ms   4 expires, ms, or ''   5 state   6 batch, or ''
--       7… fields and values, 'meta' first
-- Returns 'new'; or the state of the same job; or 'conflict'.
local known = redis.call('HMGET', KEYS[1], 'head', 'meta')
if known[1] then
    local digest = '^[^|]*'
    if string.match(known[2], digest) ~= string.match(ARGV[8], digest) then return 'conflict' end
    return string.match(known[1], '^[^|]*')
end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('SADD', KEYS[3], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
if KEYS[5] then
    redis.call('ZADD', KEYS[5], ARGV[3], ARGV[1])
    -- The first of its state is perhaps the first of all.
    if redis.call('HINCRBY', KEYS[6], '>' .. ARGV[5], 1) == 1 then
        redis.call('ZADD', KEYS[7], 'NX', ARGV[3], ARGV[6])
    end
end
if ARGV[4] ~= '' then redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1]) end
redis.call('PUBLISH', KEYS[1], '')
return 'new'
