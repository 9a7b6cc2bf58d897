-- Begins each script by which somebody says that he lives: notes since when this memory is there, and
-- this life of the server. In a memory's first life nobody can have been kept from saying so.
local function note_life(since, life, now)
    redis.call('SET', since, now, 'NX')
    local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
    local known = redis.call('GET', life)
    if not known then
        redis.call('SET', life, '0|' .. run)
    elseif string.match(known, '|(.*)$') ~= run then
        redis.call('SET', life, now .. '|' .. run)
    end
end

