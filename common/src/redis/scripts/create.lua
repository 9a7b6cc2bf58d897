-- Writes a record unless one with its id exists.
--
-- KEYS  1 job   2 index of its queue and state   3 queues   4 expiry   5 batch (only if it has one)
-- ARGV  1 id   2 digest   3 queue   4 created, ms   5 channel
--       6 member of expiry, or ''   7 expires, ms   8 backstop, ms   9… fields and values
-- Returns 'new'; or the state of the same job; or 'conflict'.
local known = redis.call('HMGET', KEYS[1], 'state', 'digest')
if known[1] then
    if known[2] ~= ARGV[2] then return 'conflict' end
    return known[1]
end
redis.call('HSET', KEYS[1], unpack(ARGV, 9))
redis.call('SADD', KEYS[3], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
if KEYS[5] then redis.call('ZADD', KEYS[5], ARGV[4], ARGV[1]) end
if ARGV[6] ~= '' then
    redis.call('ZADD', KEYS[4], ARGV[7], ARGV[6])
    redis.call('PEXPIREAT', KEYS[1], ARGV[8])
end
redis.call('PUBLISH', ARGV[5], '')
return 'new'
