-- Compare-and-set: writes what a transition says, if the job is still where it was made from.
-- Knows nothing of the rules.
--
-- KEYS  1 job   2 prefix of the indexes   3 expiry   4 what the job saved
-- ARGV  1 id   2 state, 3 attempt and 4 fence that it must have   5 state to come   6 channel
--       7 channel of cancels, or ''   8 '1' if the old state is terminal
--       9 expires, ms, or ''   10 backstop, ms   11 cancel flag that it must have
--       12… fields and values
-- Returns 1; or nil if there is no record; or the record as HGETALL.
local job = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'fence', 'queue', 'created', 'batch',
    'saves', 'cancel')
local state = job[1]
if not state then return false end
if state ~= ARGV[2] or job[2] ~= ARGV[3] or job[3] ~= ARGV[4]
    or job[8] ~= ARGV[11] then
    return redis.call('HGETALL', KEYS[1])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 12))
if state ~= ARGV[5] then
    local index = KEYS[2] .. job[4] .. ':'
    redis.call('ZREM', index .. state, ARGV[1])
    redis.call('ZADD', index .. ARGV[5], job[5], ARGV[1])
end
local batch = ':' .. (job[6] or '') .. ':' .. ARGV[1]
if ARGV[8] == '1' then
    redis.call('ZREM', KEYS[3], job[4] .. ':' .. state .. batch)
    redis.call('PERSIST', KEYS[1])
    if job[7] then redis.call('PERSIST', KEYS[4]) end
end
if ARGV[9] ~= '' then
    redis.call('ZADD', KEYS[3], ARGV[9], job[4] .. ':' .. ARGV[5] .. batch)
    redis.call('PEXPIREAT', KEYS[1], ARGV[10])
    if job[7] then redis.call('PEXPIREAT', KEYS[4], ARGV[10]) end
end
redis.call('PUBLISH', ARGV[6], '')
if ARGV[7] ~= '' then redis.call('PUBLISH', ARGV[7], '') end
return 1
