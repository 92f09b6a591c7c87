"""What Redis does in one step, in Lua.

Keys, after the configured prefix:

    s:STREAM   hash: entry, alias, key, node, fence, epoch, lives, head, oldest, sealed
    l:STREAM   stream: batches, whose ids are the numbers of their last records: LAST-0
    k:KEY      whose an idempotency key is
    a:ALIAS    whose a provider's name for an answer is
    n:NODE     there while the node's lease holds
    r:NODE     set: the running streams that the node owns
    i:NODE     stream: what it is told
    nodes      set: all nodes that own something

Leases and retention are expiries, so that one clock counts, Redis's own. A stream that runs expires as well, after a
day without a word: nobody would be left to end it.
"""

from typing import Final

_DAY: Final = 86_400_000

COMMIT: Final = f"""
local p, node, retain = ARGV[1], ARGV[2], ARGV[3]
local outcomes = {{}}
for i = 4, #ARGV, 13 do
    local id, epoch, fence, first, last = ARGV[i], ARGV[i+1], ARGV[i+2], ARGV[i+3], ARGV[i+4]
    local count = tonumber(ARGV[i+5])
    local oldest, sealed, entry, alias, key, claim = ARGV[i+6], ARGV[i+7], ARGV[i+8], ARGV[i+9], ARGV[i+10], ARGV[i+11]
    local meta, log = p .. 's:' .. id, p .. 'l:' .. id
    local now = redis.call('HMGET', meta, 'fence', 'head', 'sealed', 'oldest')
    local outcome = 0
    if not now[1] and entry ~= '' then
        redis.call('DEL', log)
        local before = string.format('%.0f', tonumber(first) - 1)
        redis.call('HSET', meta, 'node', node, 'fence', fence, 'epoch', epoch, 'lives', '{{}}',
            'head', before, 'oldest', first, 'sealed', 0)
        redis.call('SADD', p .. 'r:' .. node, id)
        redis.call('SADD', p .. 'nodes', node)
        now = {{fence, before, '0', first}}
    end
    if not now[1] then
        outcome = 2
    elseif now[1] ~= fence then
        outcome = 1
    else
        if entry ~= '' then
            redis.call('HSET', meta, 'entry', entry, 'alias', alias, 'key', key)
            local keep = {_DAY}
            if now[3] == '1' then keep = math.max(1, redis.call('PTTL', meta)) end
            if alias ~= '' then redis.call('SET', p .. 'a:' .. alias, id, 'PX', keep) end
            if key ~= '' then redis.call('SET', p .. 'k:' .. key, claim, 'PX', keep) end
        end
        local head = tonumber(now[2])
        if count > 0 and tonumber(last) > head then
            if now[3] == '1' or tonumber(first) <= head then
                outcome = 1
            else
                if tonumber(first) > head + 1 then
                    redis.call('DEL', log)
                    redis.call('HSET', meta, 'oldest', first)
                end
                redis.call('XADD', log, last .. '-0', 'e', epoch, 'f', first, 'd', ARGV[i+12])
                redis.call('HSET', meta, 'head', last)
                if tonumber(oldest) > tonumber(now[4]) then
                    redis.call('XTRIM', log, 'MINID', oldest .. '-0')
                    local kept = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)
                    redis.call('HSET', meta, 'oldest', kept[1][2][4])
                end
                local keep = {_DAY}
                if sealed == '1' then
                    keep = retain
                    redis.call('HSET', meta, 'sealed', 1)
                    redis.call('SREM', p .. 'r:' .. node, id)
                    local names = redis.call('HMGET', meta, 'alias', 'key')
                    if names[1] and names[1] ~= '' and redis.call('GET', p .. 'a:' .. names[1]) == id then
                        redis.call('PEXPIRE', p .. 'a:' .. names[1], keep)
                    end
                    if names[2] and names[2] ~= '' then redis.call('PEXPIRE', p .. 'k:' .. names[2], keep) end
                end
                redis.call('PEXPIRE', log, keep)
                redis.call('PEXPIRE', meta, keep)
            end
        end
    end
    outcomes[#outcomes + 1] = outcome
end
return outcomes
"""

_SHOW: Final = """
local function show(p, id)
    local found = redis.call('HMGET', p .. 's:' .. id,
        'entry', 'node', 'fence', 'epoch', 'lives', 'head', 'oldest', 'sealed')
    if not found[1] then return nil end
    found[9] = redis.call('EXISTS', p .. 'n:' .. found[2])
    found[10] = redis.call('PTTL', p .. 's:' .. id)
    return found
end
"""

FIND: Final = f"""
{_SHOW}
return show(ARGV[1], ARGV[2])
"""

TAKE: Final = f"""
{_SHOW}
local p, node, id, epoch = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local meta = p .. 's:' .. id
local found = redis.call('HMGET', meta, 'node', 'epoch', 'sealed', 'head', 'lives')
if not found[1] then return nil end
if found[1] == node and found[2] == epoch then return show(p, id) end
if found[3] == '1' or redis.call('EXISTS', p .. 'n:' .. found[1]) == 1 then return nil end
local lives, head = cjson.decode(found[5]), tonumber(found[4])
for name, last in pairs(lives) do lives[name] = math.min(last, head) end
lives[found[2]] = head
redis.call('HSET', meta, 'node', node, 'epoch', epoch, 'lives', cjson.encode(lives))
redis.call('HINCRBY', meta, 'fence', 1)
redis.call('SREM', p .. 'r:' .. found[1], id)
redis.call('SADD', p .. 'r:' .. node, id)
redis.call('SADD', p .. 'nodes', node)
return show(p, id)
"""

ORPHANS: Final = """
local p, limit = ARGV[1], tonumber(ARGV[2])
local orphans = {}
for _, node in ipairs(redis.call('SMEMBERS', p .. 'nodes')) do
    if redis.call('EXISTS', p .. 'n:' .. node) == 0 then
        local owned = redis.call('SRANDMEMBER', p .. 'r:' .. node, limit)
        if #owned == 0 then redis.call('SREM', p .. 'nodes', node) end
        for _, id in ipairs(owned) do
            if redis.call('EXISTS', p .. 's:' .. id) == 0 then
                redis.call('SREM', p .. 'r:' .. node, id)
            elseif #orphans < limit then
                orphans[#orphans + 1] = id
            end
        end
    end
end
return orphans
"""

BEAT: Final = """
local p, node = ARGV[1], ARGV[2]
redis.call('SET', p .. 'n:' .. node, '1', 'PX', ARGV[3])
redis.call('PEXPIRE', p .. 'i:' .. node, ARGV[4])
"""

TELL: Final = """
local p, most, keep = ARGV[1], ARGV[2], ARGV[3]
local told = {}
for i = 4, #ARGV, 2 do
    local found = redis.call('HMGET', p .. 's:' .. ARGV[i], 'node', 'sealed')
    if not found[1] or found[2] == '1' then
        told[#told + 1] = 0
    else
        local inbox = p .. 'i:' .. found[1]
        redis.call('XADD', inbox, 'MAXLEN', '~', most, '*', 'm', ARGV[i + 1])
        redis.call('PEXPIRE', inbox, keep)
        told[#told + 1] = 1
    end
end
return told
"""

CLAIM: Final = """
local key = ARGV[1] .. 'k:' .. ARGV[2]
local taken = redis.call('GET', key)
if taken then return taken end
redis.call('SET', key, ARGV[3], 'PX', ARGV[4])
return nil
"""

RELEASE: Final = """
local key = ARGV[1] .. 'k:' .. ARGV[2]
if redis.call('GET', key) == ARGV[3] and redis.call('EXISTS', ARGV[1] .. 's:' .. ARGV[4]) == 0 then
    redis.call('DEL', key)
end
"""

FORGET: Final = """
local p, id = ARGV[1], ARGV[2]
local found = redis.call('HMGET', p .. 's:' .. id, 'sealed', 'alias', 'key')
if found[1] ~= '1' then return end
redis.call('DEL', p .. 's:' .. id, p .. 'l:' .. id)
if found[2] and found[2] ~= '' and redis.call('GET', p .. 'a:' .. found[2]) == id then
    redis.call('DEL', p .. 'a:' .. found[2])
end
if found[3] and found[3] ~= '' then redis.call('DEL', p .. 'k:' .. found[3]) end
"""
