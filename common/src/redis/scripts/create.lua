-- Writes a record unless one with its id exists.
--
-- KEYS  1 prefix of jobs   2 of the indexes   3 queues   4 expiry   5 prefix of batches
--       6 of their tallies   7 batches
-- ARGV  1 id   2 queue   3 created, ms   4 expires, ms, or ''   5 state   6 batch, or ''
--       7 meta   8 spec   9 head   10… other fields and values
-- Returns 'new'; or the state of the same job; or 'conflict'.
local queues, batches = {}, {}

return each(function(id, at, last)
    local key, queue, created, expires = KEYS[1] .. id, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local state, batch = ARGV[at + 4], ARGV[at + 5]
    if redis.call('HEXISTS', key, 'head') == 1 then
        local known, digest = redis.call('HMGET', key, 'head', 'meta'), '^[^|]*'
        if string.match(known[2], digest) ~= string.match(ARGV[at + 6], digest) then
            return 'conflict'
        end
        return string.match(known[1], digest)
    end
    redis.call('HSET', key, 'meta', ARGV[at + 6], 'spec', ARGV[at + 7], 'head', ARGV[at + 8],
        unpack(ARGV, at + 9, last))
    if not queues[queue] then
        queues[queue] = redis.call('SADD', KEYS[3], queue)
    end
    add(KEYS[2] .. queue .. ':' .. state, created, id)
    if batch ~= '' then
        add(KEYS[5] .. batch, created, id)
        count(KEYS[6] .. batch, '>' .. state)
        if not batches[batch] then
            batches[batch] = redis.call('ZADD', KEYS[7], 'NX', created, batch)
        end
    end
    if expires ~= '' then add(KEYS[4], expires, id) end
    tell(key)
    return 'new'
end)
