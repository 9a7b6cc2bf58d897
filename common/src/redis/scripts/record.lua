-- Writes a new record, for `create.lua` and `claim.lua`. The index of its state is for them to write.
--
-- KEYS  1 prefix of jobs   2 of the indexes   3 queues   4 expiry   5 prefix of batches
--       6 of their tallies   7 batches
-- ARGV  from `at`: 1 queue   2 created, ms   3 expires, ms, or ''   4 state   5 batch, or ''
--       6 meta   7 spec   8 head   9… other fields and values
local queues, batches = {}, {}

local function write_record(id, at, last)
    local queue, created, expires = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local state, batch = ARGV[at + 3], ARGV[at + 4]
    redis.call('HSET', KEYS[1] .. id, 'meta', ARGV[at + 5], 'spec', ARGV[at + 6], 'head', ARGV[at + 7],
        unpack(ARGV, at + 8, last))
    if not queues[queue] then
        queues[queue] = redis.call('SADD', KEYS[3], queue)
    end
    if batch ~= '' then
        add(KEYS[5] .. batch, created, id)
        count(KEYS[6] .. batch, '>' .. state)
        if not batches[batch] then
            batches[batch] = redis.call('ZADD', KEYS[7], 'NX', created, batch)
        end
    end
    if expires ~= '' then add(KEYS[4], expires, id) end
end
