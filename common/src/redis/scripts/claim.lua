-- The common way into an attempt: grants it if the job waits for just this one, and it is time.
--
-- KEYS  those of `record.lua`
-- ARGV  1 id   2 attempt   3 digest   4 worker   5 how early a job may start, ms
--       6… where the record is to be written if there is none: what `record.lua` needs
-- Returns nil if there is no record; {record as HGETALL} if it is not claimable like this; or
--         created, a bar, and head, with {that, error} where the head says that something went wrong.
--
-- Fences and times are past what tostring() keeps, so they are formatted; doubles hold them exactly.
local time = redis.call('TIME')
local seconds, micros = tonumber(time[1]), tonumber(time[2])
local now, clock = seconds * 1000 + math.floor(micros / 1000), seconds * 1000000 + micros
local now_text, clock_text = string.format('%.0f', now), string.format('%.0f', clock)

return each(function(id, at, last)
    local key = KEYS[1] .. id
    local job = redis.call('HMGET', key, 'meta', 'head')
    local is_new = not job[2]
    if is_new then
        if last < at + 5 then return false end
        write_record(id, at + 5, last)
        job = { ARGV[at + 11], ARGV[at + 13] }
    end
    local queue, created, batch, digest, deadline =
        string.match(job[1], '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)')
    local state, attempt, before, starts, crashes, started, failed, due = string.match(job[2],
        '^([^|]*)|([^|]*)|([^|]*)|[^|]*|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)')
    local timed = state == 'scheduled' or state == 'retrying'
    if not (timed or state == 'queued') or attempt ~= ARGV[at + 1] or digest ~= ARGV[at + 2]
        or (timed and tonumber(due) > now + tonumber(ARGV[at + 4]))
        or (deadline ~= '' and tonumber(deadline) <= now) then
        if is_new then add(KEYS[2] .. queue .. ':' .. state, created, id) end
        return { redis.call('HGETALL', key) }
    end
    local fence = tonumber(before) < clock and clock_text or string.format('%.0f', before + 1)
    if started == '' then started = now_text end
    local head = 'running|' .. attempt .. '|' .. fence .. '|0|' .. starts + 1 .. '|' .. crashes
        .. '|' .. started .. '|' .. failed .. '|' .. now_text .. '|' .. ARGV[at + 3]
    redis.call('HSET', key, 'head', head)
    if batch ~= '' then count(batch, state .. '>running') end
    local index = KEYS[2] .. queue .. ':'
    if not is_new then remove(index .. state, id) end
    add(index .. 'running', created, id)
    tell(key)
    local granted = created .. '|' .. head
    return failed == '1' and { granted, redis.call('HGET', key, 'error') } or granted
end)
