-- The common way into an attempt: grants it if the job waits for just this one, and it is time.
--
-- KEYS  1 job   2 prefix of the indexes
-- ARGV  1 id   2 attempt   3 digest   4 worker   5 channel   6 how early a job may start, ms
-- Returns nil if there is no record; {0, record as HGETALL} if it is not claimable like this; or
--         {1, fence, now, created, starts, started, crashes, error}.
--
-- Fences and times are past what tostring() keeps, so they are formatted; doubles hold them exactly.
local job = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'digest', 'due', 'deadline', 'fence',
    'queue', 'created', 'starts', 'started', 'crashes', 'error')
local state = job[1]
if not state then return false end
local time = redis.call('TIME')
local seconds, micros = tonumber(time[1]), tonumber(time[2])
local now = seconds * 1000 + math.floor(micros / 1000)
local timed = state == 'scheduled' or state == 'retrying'
if not (timed or state == 'queued') or job[2] ~= ARGV[2] or job[3] ~= ARGV[3]
    or (timed and tonumber(job[4] or 0) > now + tonumber(ARGV[6]))
    or (job[5] and tonumber(job[5]) <= now) then
    return {0, redis.call('HGETALL', KEYS[1])}
end
local fence = seconds * 1000000 + micros
local last = tonumber(job[6])
if last >= fence then fence = last + 1 end
fence = string.format('%.0f', fence)
now = string.format('%.0f', now)
local starts = string.format('%.0f', job[9] + 1)
local started = job[10] or now
redis.call('HSET', KEYS[1], 'state', 'running', 'fence', fence, 'worker', ARGV[4], 'began', now,
    'starts', starts, 'started', started, 'cancel', '0')
local index = KEYS[2] .. job[7] .. ':'
redis.call('ZREM', index .. state, ARGV[1])
redis.call('ZADD', index .. 'running', job[8], ARGV[1])
redis.call('PUBLISH', ARGV[5], '')
return {1, fence, now, job[8], starts, started, job[11], job[12] or ''}
