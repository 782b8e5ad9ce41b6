#!/bin/sh
# Prints where tests put their files: in memory, if there is room for some clusters of PostgreSQL and programs run there.
# A cluster has a thousand files, and ext4 without a journal looks at each inode that was freed in the last minute before
# it makes a new one, which took a third of the suite's time.
memory=/dev/shm
room=$(df -Pk "$memory" 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ "${room:-0}" -gt 6000000 ] && probe=$(mktemp "$memory/tidegate-XXXXXX" 2>/dev/null); then
    printf '#!/bin/sh\n' >"$probe"
    chmod +x "$probe"
    "$probe" 2>/dev/null && found=$memory
    rm -f "$probe"
fi
echo "${found:-${TMPDIR:-/tmp}}"
