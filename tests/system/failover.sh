#!/bin/bash
# Stories of nodes that die: at any moment of a lock's life the leader may be killed, and nothing that was said is undone.
. "$(dirname "$0")/lib.sh"

# hold NAME KEY: take KEY and keep it until release_held NAME. Its fence is in $dir/NAME.fence as soon as it holds. The ttl
# is several times what a fail-over takes.
hold()
{
    local name=$1 key=$2
    shift 2
    rm -f "$dir/$name.fence" "$dir/$name.go"
    # tidy: sleep because it only spaces the looks; the condition is beside it
    "$lockstep" lock "$key" --ttl 10s "$@" -- sh -c "echo \$LOCKSTEP_FENCE >$dir/$name.new; mv $dir/$name.new $dir/$name.fence; while ! [ -e $dir/$name.go ]; do sleep 0.05; done" &
    children+=($!)
    eval "pid_$name=$!"
}

release_held()
{
    local pid
    eval "pid=\$pid_$1"
    touch "$dir/$1.go"
    wait "$pid" || fail "the holder $1 ended with $?"
}

holds()
{
    [ -s "$dir/$1.fence" ]
}

kill_leader()
{
    killed=$(leader)
    local_cluster kill "$killed" || fail "node $killed can not be killed"
}

restart_killed()
{
    local_cluster restart "$killed" >/dev/null || fail "node $killed does not come back"
}

nodes=${1:-3}
start_cluster "$nodes"

story "a held lock outlives its leader, is granted to nobody meanwhile, and is handed over in order"
hold a k1
wait_until 20 "the first grant" holds a
hold b k1
wait_until 20 "the first waiter" waiters_are k1 1
hold c k1
wait_until 20 "the second waiter" waiters_are k1 2
kill_leader
wait_until 20 "an answer after the fail-over" waiters_are k1 2
if holds b || holds c; then
    fail "a waiter was granted a lock that is held"
fi
release_held a
wait_until 20 "the hand-over" holds b
holds c && fail "two hold an exclusive lock"
restart_killed
kill_leader
release_held b
wait_until 20 "the second hand-over" holds c
restart_killed
release_held c
fences=$(cat "$dir/a.fence" "$dir/b.fence" "$dir/c.fence")
equal "$fences" "$(sort -n -u <<<"$fences")" "fences rise in the order of the grants"

story "a handle released while the leader dies is released once, and the second time it is not held"
handle=$("$lockstep" acquire k2 --ttl 30s) || fail "acquire"
"$lockstep" release "$handle" &
releasing=$!
kill_leader
wait "$releasing" || fail "release across a fail-over ended with $?"
"$lockstep" release "$handle" 2>/dev/null
equal $? 123 "exit code of a second release"
wait_until 10 "the lock to be free" holders_are k2 0
restart_killed

story "a lock acquired and extended while leaders die is held once"
("$lockstep" acquire k3 --ttl 30s >"$dir/handle") &
acquiring=$!
kill_leader
wait "$acquiring" || fail "acquire across a fail-over ended with $?"
restart_killed
equal "$(lock_field k3 '["holders_count"]')" 1 "holders after an acquire across a fail-over"
handle=$(cat "$dir/handle")
"$lockstep" extend "$handle" --ttl 40s &
extending=$!
kill_leader
wait "$extending" || fail "extend across a fail-over ended with $?"
restart_killed
left=$(lock_field k3 '["holders"][0]["remaining_ms"]')
((left > 30000)) || fail "the extend had no effect: $left ms are left"

story "a follower that is killed and restarted catches up, and all digests agree"
follower=$(($(leader) % nodes + 1))
local_cluster kill "$follower"
for i in 1 2 3 4 5; do
    "$lockstep" lock "many/$i" --ttl 3s -- true || fail "a lock with one node down"
done
local_cluster restart "$follower" >/dev/null || fail "node $follower does not come back"
wait_until 20 "the digests to agree" digests_agree

story "all nodes are killed and restarted: held locks are held, fences go on rising"
fence=$(lock_field k3 '["fence"]')
for ((i = 1; i <= nodes; i++)); do
    local_cluster kill "$i"
done
local_cluster start >/dev/null || fail "the cluster does not come back"
wait_until 20 "an answer after the restart" holders_are k3 1
equal "$(lock_field k3 '["fence"]')" "$fence" "the fence after a restart of all nodes"
"$lockstep" lock k3 --ttl 3s --try -- true 2>/dev/null
equal $? 120 "exit code for a lock that is held since before the restart"
new=$("$lockstep" lock other --ttl 3s -- sh -c 'echo $LOCKSTEP_FENCE')
((new > fence)) || fail "fence $new is not greater than $fence"

story "without a majority nothing is granted and clients are told in time; with it they are served again"
majority=$((nodes / 2 + 1))
for ((i = 1; i <= majority; i++)); do
    local_cluster kill "$i"
done
begin=$(now_ms)
"$lockstep" --timeout 3s lock lonely --ttl 3s --try -- touch "$dir/granted" 2>/dev/null
code=$?
took=$(($(now_ms) - begin))
((code == 122 || code == 118)) || fail "exit code $code without a majority"
((took < 8000)) || fail "it took $took ms to say that there is no majority"
[ -e "$dir/granted" ] && fail "a lock was granted without a majority"
local_cluster start >/dev/null || fail "the cluster does not come back"
"$lockstep" lock lonely --ttl 3s -- true || fail "no lock after the majority was regained"
wait_until 20 "the digests to agree" digests_agree
