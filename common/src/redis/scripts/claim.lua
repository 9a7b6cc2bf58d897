-- The common way into an attempt: grants it if the job waits for just this one, and it is time.
--
-- KEYS  1 job   2 prefix of the indexes   3 prefix of the tallies of batches
-- ARGV  1 id   2 attempt   3 digest   4 worker   5 how early a job may start, ms
-- Returns nil if there is no record; {0, record as HGETALL} if it is not claimable like this; or
--         {1, created, head, error or nil}.
--
-- Fences and times are past what tostring() keeps, so they are formatted; doubles hold them exactly.
local job = redis.call('HMGET', KEYS[1], 'meta', 'head')
if not job[2] then return false end
local digest, queue, created, deadline, batch =
    string.match(job[1], '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)')
local state, attempt, last, starts, crashes, started, failed, due = string.match(job[2],
    '^([^|]*)|([^|]*)|([^|]*)|[^|]*|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)')
local time = redis.call('TIME')
local seconds, micros = tonumber(time[1]), tonumber(time[2])
local now = seconds * 1000 + math.floor(micros / 1000)
local timed = state == 'scheduled' or state == 'retrying'
if not (timed or state == 'queued') or attempt ~= ARGV[2] or digest ~= ARGV[3]
    or (timed and tonumber(due) > now + tonumber(ARGV[5]))
    or (deadline ~= '' and tonumber(deadline) <= now) then
    return {0, redis.call('HGETALL', KEYS[1])}
end
local fence = string.format('%.0f', math.max(seconds * 1000000 + micros, last + 1))
now = string.format('%.0f', now)
if started == '' then started = now end
local head = 'running|' .. attempt .. '|' .. fence .. '|0|' .. starts + 1 .. '|' .. crashes .. '|'
    .. started .. '|' .. failed .. '|' .. now .. '|' .. ARGV[4]
redis.call('HSET', KEYS[1], 'head', head)
if batch ~= '' then redis.call('HINCRBY', KEYS[3] .. batch, state .. '>running', 1) end
local index = KEYS[2] .. queue .. ':'
redis.call('ZREM', index .. state, ARGV[1])
redis.call('ZADD', index .. 'running', created, ARGV[1])
redis.call('PUBLISH', KEYS[1], '')
return {1, created, head, failed == '1' and redis.call('HGET', KEYS[1], 'error')}
