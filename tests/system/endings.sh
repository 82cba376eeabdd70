#!/bin/bash
# Stories of stories: what a node reports fails the story that it belongs to, and one that is ended without a word, as ctest
# does at a time limit, leaves neither processes nor files behind.
. "$(dirname "$0")/lib.sh"

# inner SCRIPT: a story of its own, with its directory in this one's.
inner()
{
    TMPDIR=$dir bash -c '. "$0/lib.sh"; start_cluster 1; '"$1" "$(dirname "$0")" >/dev/null 2>"$dir/said"
}

story "a story without a report passes, one with a report fails, though nothing else went wrong"
inner true
equal $? 0 "exit code of a story in which nothing happens"
for report in "==7==ERROR: LeakSanitizer: detected memory leaks" "fsm.c:1:2: runtime error: overflow" "fsm.c:1: f: assertion failed: a"; do
    inner "echo '$report' >>\"\$dir/cluster/node-1/log\""
    equal $? 1 "exit code of a story with a node that reported \"$report\""
    grep -qF "$report" "$dir/said" || fail "the story does not say what was reported: $(cat "$dir/said")"
done

nothing_is_left()
{
    has_ended "$(cat "$dir/pid")" && ! compgen -G "$dir/lockstep-system.*"
}

story "a story that is killed leaves nothing, not even a node that stands still"
inner 'cp "$dir/cluster/node-1/pid" "$dir/.."; kill -STOP "$(pid_of_node 1)"; kill -9 $$'
equal $? 137 "exit code of a story that is killed"
wait_until 30 "the end of its node and its files" nothing_is_left
