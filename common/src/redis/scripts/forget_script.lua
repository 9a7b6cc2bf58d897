-- Forgets a script.
--
-- KEYS  1 names of scripts   2 versions of this one
-- ARGV  1 name
-- Returns how many keys with versions were removed: 1, or 0 when there was none.
redis.call('SREM', KEYS[1], ARGV[1])
return redis.call('DEL', KEYS[2])
