-- Writes a new record, for `create.lua` and `claim.lua`. The index of its state is for them to write.
--
-- KEYS  those of `batch.lua`; 5 queues   6 prefix of batches   7 batches
-- ARGV  from `at`: 1 queue   2 created, ms   3 when it may be forgotten, ms, or ''   4 when it
--       ended, ms, or ''   5 state   6 batch, or ''   7 meta   8 spec   9 head
--       10… other fields and values
local queues, batches = {}, {}

local function write_record(id, at, last)
    local queue, created, expires = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local state, batch = ARGV[at + 4], ARGV[at + 5]
    redis.call('HSET', KEYS[1] .. id, 'meta', ARGV[at + 6], 'spec', ARGV[at + 7], 'head', ARGV[at + 8],
        unpack(ARGV, at + 9, last))
    if not queues[queue] then
        queues[queue] = redis.call('SADD', KEYS[5], queue)
    end
    if batch ~= '' then
        add(KEYS[6] .. batch, created, id)
        count(batch, '>' .. state)
        if not batches[batch] then
            batches[batch] = redis.call('ZADD', KEYS[7], 'NX', created, batch)
        end
    end
    if expires ~= '' then forget(expires, ARGV[at + 3], id) end
end
