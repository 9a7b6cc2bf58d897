-- Keeps a worker alive for a time that is fixed now, whether or not its process is there.
--
-- KEYS  1 worker   2 since when this memory reaches back   3 this life of the server
-- ARGV  1 for how long, ms   2 how long its end is remembered, ms   3 '1': only if it has not ended
-- Returns until when, ms; nil where it has ended.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] == '1' then
    local held = string.match(redis.call('GET', KEYS[1]) or '', '"until":(%d+)')
    if not held or tonumber(held) < now then return false end
end
local over = string.format('%.0f', now + ARGV[1])
redis.call('SET', KEYS[1], '{"until":' .. over .. '}', 'PX', string.format('%.0f', ARGV[1] + ARGV[2]))
note_life(KEYS[2], KEYS[3], string.format('%.0f', now))
return over
