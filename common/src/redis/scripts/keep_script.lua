-- Makes a script's name mean this text.
--
-- KEYS  1 names of scripts   2 versions of this one, the latest first
-- ARGV  1 name   2 version   3 entry, which begins with the version   4 most versions that are kept
-- Returns how many there are now.
for _, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    if string.sub(entry, 1, #ARGV[2]) == ARGV[2] then redis.call('LREM', KEYS[2], 0, entry) end
end
redis.call('LPUSH', KEYS[2], ARGV[3])
redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[4]) - 1)
redis.call('SADD', KEYS[1], ARGV[1])
return redis.call('LLEN', KEYS[2])
