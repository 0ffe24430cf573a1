-- Keep a value unless what is there is of a later revision, and publish a message about it, if any.
-- KEYS[1] its name; ARGV: the value, milliseconds to keep it, and 1 to replace whatever is there;
-- with a message, its channel and the message.
-- A value of ours begins with its version (1) and its revision (20 digits); what begins with
-- anything else, or is no string at all, is no value of ours and is replaced.
local function keep()
    if ARGV[3] ~= "1" then
        local there = redis.pcall("GETRANGE", KEYS[1], 0, 20)
        if type(there) == "string" and #there == 21 and string.find(there, "^1%d+$")
            and there > string.sub(ARGV[1], 1, 21) then
            return 0
        end
    end
    local kept = redis.pcall("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
    return kept.err and kept or 1
end

local kept = keep()
if not ARGV[4] then
    return kept
end
local told = redis.pcall("PUBLISH", ARGV[4], ARGV[5])
-- A message is told whether or not the value was kept, but a server that may not write is not the
-- one that everybody listens to.
if type(told) == "number" and type(kept) == "table" and string.find(kept.err, "READONLY") then
    return kept
end
return told
