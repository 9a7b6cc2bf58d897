-- Drops an index entry whose record is gone.
--
-- KEYS  1 job   2 index
-- ARGV  1 id
-- Returns how many entries it dropped.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
return redis.call('ZREM', KEYS[2], ARGV[1])
