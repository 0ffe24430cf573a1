-- Keep a value unless what is there is of a later revision.
-- KEYS[1] its name; ARGV: the value, milliseconds to keep it, and 1 to replace whatever is there.
-- A value of ours begins with its version (1) and its revision (20 digits); what begins with
-- anything else, or is no string at all, is no value of ours and is replaced.
if ARGV[3] ~= "1" then
    local there = redis.pcall("GETRANGE", KEYS[1], 0, 20)
    if type(there) == "string" and #there == 21 and string.find(there, "^1%d+$")
        and there > string.sub(ARGV[1], 1, 21) then
        return 0
    end
end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1
