-- Compare-and-set: writes what a transition says, if the job is still where it was made from.
-- Knows nothing of the rules.
--
-- KEYS  those of `batch.lua`; 5 prefix of what jobs saved
-- ARGV  1 id   2 how its head must begin   3 state it must have   4 state to come
--       5 when it may be forgotten, ms, or ''   6 when it ended, ms, or ''
--       7 channel of cancels, or ''   8 '1': what it saved is to be forgotten
--       9… fields and values, 'head' among them
-- Returns 1; or nil if there is no record; or the record as HGETALL.
return each(function(id, at, last)
    local key, version = KEYS[1] .. id, ARGV[at + 1]
    local job = redis.call('HMGET', key, 'head', 'meta')
    if not job[1] then return false end
    if string.sub(job[1], 1, #version) ~= version then return redis.call('HGETALL', key) end
    local from, to, expires = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local queue, created, batch = string.match(job[2], '^([^|]*)|([^|]*)|([^|]*)|')
    if not batch then error('its meta cannot be read') end
    redis.call('HSET', key, unpack(ARGV, at + 8, last))
    if from ~= to then
        if batch ~= '' then count(batch, from .. '>' .. to) end
        local index = KEYS[2] .. queue .. ':'
        remove(index .. from, id)
        add(index .. to, created, id)
    end
    if ARGV[at + 7] == '1' then redis.call('DEL', KEYS[5] .. id) end
    if expires ~= '' then forget(expires, ARGV[at + 5], id) end
    tell(key)
    if ARGV[at + 6] ~= '' then tell(ARGV[at + 6]) end
    return 1
end)
