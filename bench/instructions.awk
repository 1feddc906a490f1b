# Reads a dump of callgrind and prints, tab-separated: instructions, function, shared object; only what ran in the
# function itself, together with what was inlined into it. (callgrind_annotate lists each inlined file apart, and
# takes calls that began before the dump for the caller's own cost.)

# Names are given once, then abbreviated: "(12) name", later "(12)".
function name(kind, text,    id) {
    match(text, /^\([0-9]+\)/)
    id = kind substr(text, 1, RLENGTH)
    if (length(text) > RLENGTH) names[id] = substr(text, RLENGTH + 2)
    return id
}

/^ob=/ { object = name("object", substr($0, 4)); next }
/^fn=/ { caller = name("function", substr($0, 4)); objects[caller] = object; next }
/^cob=/ { name("object", substr($0, 5)); next }
/^cfn=/ { name("function", substr($0, 5)); next }
# The line that follows is the cost of what is called.
/^calls=/ { called = 1; next }
/^[-+*0-9]/ { if (!called) cost[caller] += $2; called = 0 }

END {
    for (id in cost) {
        path = names[objects[id]]
        sub(/.*\//, "", path)
        printf "%d\t%s\t%s\n", cost[id], names[id], path
    }
}
