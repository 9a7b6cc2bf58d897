-- Keeps a checkpoint or a step's result.
--
-- KEYS  1 job   2 what the job saved
-- ARGV  1 fence   2 field   3 value   4 most fields that a job may have
-- Returns 'done', 'lost', 'missing' or 'full'.
local head = redis.call('HGET', KEYS[1], 'head')
if not head then return 'missing' end
local state, fence = string.match(head, '^([^|]*)|[^|]*|([^|]*)')
-- From before the claim, which this memory has lost.
if tonumber(fence) < tonumber(ARGV[1]) then return 'missing' end
if state ~= 'running' or fence ~= ARGV[1] then return 'lost' end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[4])
    and redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then
    return 'full'
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 'done'
