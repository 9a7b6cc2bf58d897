-- Keeps a checkpoint or a step's result. The record counts them, so that only jobs that saved
-- something pay for a second key.
--
-- KEYS  1 job   2 what the job saved
-- ARGV  1 fence   2 field   3 value   4 most fields that a job may have
-- Returns 'done', 'lost', 'missing' or 'full'.
local job = redis.call('HMGET', KEYS[1], 'state', 'fence', 'saves')
if not job[1] then return 'missing' end
if job[1] ~= 'running' or job[2] ~= ARGV[1] then return 'lost' end
if tonumber(job[3] or 0) >= tonumber(ARGV[4])
    and redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then
    return 'full'
end
if redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) == 1 then
    redis.call('HINCRBY', KEYS[1], 'saves', 1)
end
return 'done'
