#!/bin/bash
# Stories of time: leases of clients that die, nodes that stop and go on.
. "$(dirname "$0")/lib.sh"

got_time()
{
    [ -s "$dir/got" ]
}

start_cluster 3

story "a holder that is killed keeps the lock for its ttl since the last renewal, and a second more at most"
for ttl in 2 4; do
    rm -f "$dir/got" "$dir/held"
    "$lockstep" lock k --ttl ${ttl}s -- sh -c "touch $dir/held; exec sleep 1000" &
    holder=$!
    children+=("$holder")
    wait_until 20 "the grant" test -e "$dir/held"
    "$lockstep" lock k --ttl 3s -- sh -c "date +%s%3N >$dir/new; mv $dir/new $dir/got" &
    waiter=$!
    wait_until 20 "the waiter" waiters_are k 1
    command=$(pgrep -P "$holder")
    kill -9 "$holder"
    killed=$(now_ms)
    wait "$waiter" || fail "the waiter ended with $?"
    after=$(($(cat "$dir/got") - killed))
    # The last renewal was sent at most a third of the ttl before the kill.
    ((after >= ttl * 1000 * 2 / 3 - 100)) || fail "granted $after ms after the kill of a holder with a ttl of $ttl s"
    ((after <= ttl * 1000 + 1000)) || fail "granted only $after ms after the kill of a holder with a ttl of $ttl s"
    has_ended "$command" || fail "the command went on without its lock"
done

story "a waiter that is killed is passed over, and leaves no ghost"
handle=$("$lockstep" acquire k --ttl 60s) || fail "acquire"
"$lockstep" lock k --ttl 1s -- true &
first=$!
children+=("$first")
wait_until 20 "the first waiter" waiters_are k 1
"$lockstep" lock k --ttl 3s -- true &
second=$!
wait_until 20 "the second waiter" waiters_are k 2
kill -9 "$first"
wait_until 20 "the killed waiter to leave the queue" waiters_are k 1
"$lockstep" release "$handle" || fail "release"
wait "$second" || fail "the second waiter ended with $?"
wait_until 20 "the lock to be free" holders_are k 0

story "a leader that is stopped beyond the ttl and goes on gives no wrong answer, and a renewing holder keeps its lock"
# tidy: sleep because it only spaces the looks; the condition is beside it
"$lockstep" lock paused --ttl 10s -- sh -c "touch $dir/holds; while ! [ -e $dir/go ]; do sleep 0.05; done" &
holder=$!
children+=("$holder")
wait_until 20 "the grant" test -e "$dir/holds"
stopped=$(leader)
kill -STOP "$(pid_of_node "$stopped")"
wait_until 20 "another leader to serve" holders_are paused 1
"$lockstep" lock paused --ttl 3s --wait 4s -- true 2>/dev/null
equal $? 120 "exit code for a lock that its holder renews all the time"
kill -CONT "$(pid_of_node "$stopped")"
wait_until 20 "the digests to agree" digests_agree
equal "$(lock_field paused '["holders_count"]')" 1 "holders after the stopped leader went on"
touch "$dir/go"
wait "$holder" || fail "the holder ended with $?"

signal_nodes()
{
    local i
    for i in 1 2 3; do
        kill "-$1" "$(pid_of_node "$i")"
    done
}

# Once the command of $holder runs, no node answers any more; the command's pid is in $command.
stop_nodes_under_it()
{
    children+=("$holder")
    wait_until 20 "the command" test -e "$dir/running"
    command=$(cat "$dir/running")
    signal_nodes STOP
}

story "a command whose lock can not be renewed is stopped before another can have the lock"
# tidy: sleep because the command under the lock is to run until it is told to end
"$lockstep" --timeout 2s lock lost --ttl 3s --grace 300ms -- sh -c "trap 'date +%s%3N >$dir/term' TERM; echo \$\$ >$dir/new; mv $dir/new $dir/running; while :; do sleep 0.05; done" &
holder=$!
stop_nodes_under_it
stopped_at=$(now_ms)
until has_ended "$command"; do
    (($(now_ms) - stopped_at < 20000)) || fail "the command was not stopped"
    # tidy: sleep because it only spaces the looks; the condition is beside it
    sleep 0.02
done
ended=$(now_ms)
wait "$holder"
code=$?
signal_nodes CONT
equal "$code" 121 "exit code of a lock that was lost"
[ -s "$dir/term" ] || fail "the command was not asked to end"
((ended - stopped_at <= 3000)) || fail "the command ran $((ended - stopped_at)) ms after the last possible renewal, ttl 3 s"

story "nor does a time daemon that slows the clock let it run for longer"
rm "$dir/running" "$dir/term"
preload=(LD_PRELOAD="$binary_dir/tests/system_slow_clock.so" ASAN_OPTIONS="${ASAN_OPTIONS:-}:verify_asan_link_order=0")
# tidy: sleep because the command under the lock is to run until it is killed
env "${preload[@]}" "$lockstep" --timeout 2s lock slowed --ttl 8s --grace 3800ms -- env -u LD_PRELOAD sh -c "trap 'date +%s%3N >$dir/term' TERM; echo \$\$ >$dir/new; mv $dir/new $dir/running; while :; do sleep 0.05; done" &
holder=$!
stop_nodes_under_it
wait_until 20 "the end of the command" has_ended "$command"
ended=$(now_ms)
wait "$holder"
code=$?
signal_nodes CONT
equal "$code" 121 "exit code of a lock that was lost beside a time daemon"
((ended - $(cat "$dir/term") <= 4000)) || fail "the command ran $((ended - $(cat "$dir/term"))) ms after it was told, of 4 s that were left"
