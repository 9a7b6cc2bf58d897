-- Replaces progress and log of the running attempt.
--
-- KEYS  1 job
-- ARGV  1 fence   2 channel   3 progress, or ''   4 log
-- Returns 'done', 'lost' or 'missing'.
local job = redis.call('HMGET', KEYS[1], 'state', 'fence')
if not job[1] then return 'missing' end
if job[1] ~= 'running' or job[2] ~= ARGV[1] then return 'lost' end
redis.call('HSET', KEYS[1], 'progress', ARGV[3], 'log', ARGV[4])
redis.call('PUBLISH', ARGV[2], '')
return 'done'
