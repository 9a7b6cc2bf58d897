-- One heartbeat for a whole worker.
--
-- KEYS  1 worker   2 workers   3 since when this memory reaches back   4 this life of the server
--       5 paused queues   6… jobs it runs
-- ARGV  1 worker's id   2 its description   3 how long it then counts as alive, ms   4… fences
-- Returns {now, and places, from 0, of jobs that were asked to stop, that are no longer its own, and
--         that this memory has lost: without a record, or with one from before their claim; and
--         names of the queues that are paused}.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - 10 * ARGV[3]))
note_life(KEYS[3], KEYS[4], now)
local cancelled, lost, forgotten = {}, {}, {}
for place = 6, #KEYS do
    local head = redis.call('HGET', KEYS[place], 'head') or 'none|0|0|0'
    local state, fence, cancel = string.match(head, '^([^|]*)|[^|]*|([^|]*)|([^|]*)')
    local ours = tonumber(ARGV[place - 2])
    fence = tonumber(fence)
    if fence < ours then
        forgotten[#forgotten + 1] = place - 6
    elseif state ~= 'running' or fence > ours then
        lost[#lost + 1] = place - 6
    elseif cancel == '1' then
        cancelled[#cancelled + 1] = place - 6
    end
end
return {now, cancelled, lost, forgotten, redis.call('HKEYS', KEYS[5])}
