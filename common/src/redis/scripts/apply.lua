-- Compare-and-set: writes what a transition says, if the job is still where it was made from.
-- Knows nothing of the rules.
--
-- KEYS  1 prefix of jobs   2 of the indexes   3 expiry   4 prefix of the tallies of batches
--       5 of what jobs saved
-- ARGV  1 id   2 how its head must begin   3 state it must have   4 state to come
--       5 expires, ms; or '' if it does not; or 'never' if it did, and does not any more
--       6 channel of cancels, or ''   7 '1': what it saved is to be forgotten
--       8… fields and values, 'head' among them
-- Returns 1; or nil if there is no record; or the record as HGETALL.
return each(function(id, at, last)
    local key, version = KEYS[1] .. id, ARGV[at + 1]
    local job = redis.call('HMGET', key, 'head', 'meta')
    if not job[1] then return false end
    if string.sub(job[1], 1, #version) ~= version then return redis.call('HGETALL', key) end
    local from, to, expires = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local queue, created, batch = string.match(job[2], '^[^|]*|([^|]*)|([^|]*)|[^|]*|([^|]*)')
    if not batch then error('its meta cannot be read') end
    redis.call('HSET', key, unpack(ARGV, at + 7, last))
    if from ~= to then
        if batch ~= '' then count(KEYS[4] .. batch, from .. '>' .. to) end
        local index = KEYS[2] .. queue .. ':'
        remove(index .. from, id)
        add(index .. to, created, id)
    end
    if ARGV[at + 6] == '1' then redis.call('DEL', KEYS[5] .. id) end
    if expires == 'never' then
        remove(KEYS[3], id)
    elseif expires ~= '' then
        add(KEYS[3], expires, id)
    end
    tell(key)
    if ARGV[at + 5] ~= '' then tell(ARGV[at + 5]) end
    return 1
end)
