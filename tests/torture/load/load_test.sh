#!/bin/bash
# The load on its own: what it writes is well formed, also when it is killed, stopped for longer than its leases, or left alone.
. "$(dirname "$0")/../../system/lib.sh"

seed=${LOCKSTEP_SEED:-$(($(date +%s) % 100000))}
check=("$(dirname "$0")/check_history.py")

# start NUMBER OPTIONS...: one more process of the load, with owners and process numbers of its own; its pid is in $load.
start()
{
    local number=$1
    shift
    "$bin/torture_load" --endpoints "$LOCKSTEP_ENDPOINTS" --clients 12 --keys 8 --seed "$seed" --process-base "$((number * 1000000))" \
        --owner-prefix "c$number." --history "$dir/history-$number" "$@" >"$dir/load-$number" 2>&1 &
    load=$!
    children+=("$load")
}

lines()
{
    grep -c "$2" "$dir/history-$1"
}

ended_well()
{
    wait "$1"
    equal "$?" 0 "the exit code of the load: $(tail -n 5 "$dir/load-$2")"
}

start_cluster 3

seen()
{
    local f
    for f in acquire release extend open renew close check status lost; do
        (($(lines "$1" ":f :$f ") > 0)) || return 1
    done
}

story "until everything that it can do was done (seed $seed)"
start 1
wait_until 60 "one of every operation" seen 1
kill -TERM "$load"
ended_well "$load" 1
cat "$dir/load-1"
"${check[@]}" "$dir/history-1" || fail "the history is not well formed (seed $seed)"
"$bin/torture_load" --final --endpoints "$LOCKSTEP_ENDPOINTS" --keys 8 --history "$dir/final" || fail "the last look failed"
"${check[@]}" "$dir/final" || fail "the last look is not well formed"
equal "$(grep -c ':holders \[\] :waiters 0' "$dir/final")" 8 "keys that are free at the end"
"$bin/torture_judge" "$dir/history-1" "$dir/final" >"$dir/judged" || fail "the judge rejects it: $(cat "$dir/judged")"

story "a history that is not well formed is noticed"
tampered()
{
    sed "$2" "$dir/history-1" >"$dir/tampered"
    cmp -s "$dir/history-1" "$dir/tampered" && fail "$1: nothing was changed"
    "${check[@]}" "$dir/tampered" >/dev/null 2>"$dir/said" && fail "$1 was not noticed"
    grep -q "$3" "$dir/said" || fail "$1 was noticed as something else: $(cat "$dir/said")"
}
tampered "a completion that is missing" '0,/:type :ok :f :release/{/:type :ok :f :release/d}' "operation open\|never completed"
tampered "an invocation that is missing" '0,/:type :invoke :f :status/{/:type :invoke :f :status/d}' "completion of nothing"
tampered "a time that goes back" '50s/:time [0-9]*/:time 1/' "time goes back"
tampered "a token that is not its grant's" '0,/:invoke :f :release/s/\(:invoke :f :release .*:token \)[0-9]*/\1999999999/' "never granted"
tampered "a line that is cut" '$s/}}$//' "no line"

story "killed: only the last line may be torn"
start 2
wait_until 30 "a thousand lines" bash -c "((\$(wc -l <'$dir/history-2') > 1000))"
kill -9 "$load"
wait "$load" 2>/dev/null
"${check[@]}" --torn "$dir/history-2" || fail "the history of a killed load is not well formed (seed $seed)"
# Its sessions end by themselves: until then their holds and waits are in nobody's history below.
all_free()
{
    rm -f "$dir/final-2"
    "$bin/torture_load" --final --endpoints "$LOCKSTEP_ENDPOINTS" --keys 8 --history "$dir/final-2" >/dev/null || return 1
    (($(grep -c ':holders \[\] :waiters 0' "$dir/final-2") == 8))
}
wait_until 60 "what the killed load held to be free" all_free

story "stopped for longer than its leases, while others want them"
start 3 --ttl-ms 600
stopped=$load
start 4 --ttl-ms 600
wait_until 30 "grants" bash -c "((\$(grep -c ':ok :f :acquire' '$dir/history-3') > 200))"
for _ in 1 2 3; do
    kill -STOP "$stopped"
    before=$(lines 4 ":ok :f :acquire")
    # tidy: sleep because the leases of the stopped process must end, of which it writes nothing
    sleep 1
    wait_until 30 "the other to go on" bash -c "((\$(grep -c ':ok :f :acquire' '$dir/history-4') > $before + 100))"
    kill -CONT "$stopped"
    before=$(lines 3 ":ok :f :acquire")
    wait_until 30 "the stopped one to go on" bash -c "((\$(grep -c ':ok :f :acquire' '$dir/history-3') > $before + 100))"
done
kill -USR1 "$load" "$stopped"
kill -TERM "$load" "$stopped"
ended_well "$stopped" 3
ended_well "$load" 4
"${check[@]}" "$dir/history-3" "$dir/history-4" || fail "a history is not well formed (seed $seed)"
"$bin/torture_judge" "$dir/history-3" "$dir/history-4" >"$dir/judged" || fail "the judge rejects it: $(cat "$dir/judged")"

story "until its second is over"
start 6 --seconds 1
ended_well "$load" 6
"${check[@]}" "$dir/history-6" || fail "the history of one second is not well formed (seed $seed)"

story "alone: it ends although no node is there"
start 5
wait_until 30 "grants" bash -c "((\$(grep -c ':ok :f :acquire' '$dir/history-5') > 50))"
local_cluster stop
kill -INT "$load"
ended_well "$load" 5
"${check[@]}" "$dir/history-5" || fail "the history of a lonely load is not well formed (seed $seed)"

story "what is wrong in the command line is named"
"$bin/torture_load" --endpoints x:1 --history "$dir/x" --clients 0 2>"$dir/said" && fail "--clients 0 is taken"
grep -q "from 1 to 2000" "$dir/said" || fail "--clients 0 is not named as wrong: $(cat "$dir/said")"
"$bin/torture_load" --endpoints x:1 --history "$dir" 2>"$dir/said" && fail "a directory is taken for a file"
grep -q "can not be written" "$dir/said" || fail "a history that can not be written is not named: $(cat "$dir/said")"
