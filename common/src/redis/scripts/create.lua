-- Writes a record unless one with its id exists.
--
-- KEYS  those of `record.lua`
-- ARGV  1 id   2… what `record.lua` needs
-- Returns 'new'; or the state of the same job; or 'conflict'.
return each(function(id, at, last)
    local key = KEYS[1] .. id
    if redis.call('HEXISTS', key, 'head') == 1 then
        local known, digest = redis.call('HMGET', key, 'head', 'meta'), '^[^|]*|[^|]*|[^|]*|([^|]*)'
        if string.match(known[2], digest) ~= string.match(ARGV[at + 7], digest) then
            return 'conflict'
        end
        return string.match(known[1], '^[^|]*')
    end
    write_record(id, at + 1, last)
    add(KEYS[2] .. ARGV[at + 1] .. ':' .. ARGV[at + 5], ARGV[at + 2], id)
    tell(key)
    return 'new'
end)
