-- Replaces progress and log of the running attempt.
--
-- KEYS  1 job
-- ARGV  1 fence   2 progress, or ''   3 log
-- Returns 'done', 'lost' or 'missing'.
local head = redis.call('HGET', KEYS[1], 'head')
if not head then return 'missing' end
local state, fence = string.match(head, '^([^|]*)|[^|]*|([^|]*)')
-- From before the claim, which this memory has lost.
if tonumber(fence) < tonumber(ARGV[1]) then return 'missing' end
if state ~= 'running' or fence ~= ARGV[1] then return 'lost' end
redis.call('HSET', KEYS[1], 'progress', ARGV[2], 'log', ARGV[3])
redis.call('PUBLISH', KEYS[1], '')
return 'done'
