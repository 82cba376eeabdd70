#!/bin/bash
# 200 clients on 20 keys while the leader is killed again and again; the judge is load_check.c. For a longer run:
#   LOCKSTEP_LOAD_SECONDS=600 LOCKSTEP_SEED=7 tests/system/load.sh
. "$(dirname "$0")/lib.sh"

seconds=${LOCKSTEP_LOAD_SECONDS:-25}
seed=${LOCKSTEP_SEED:-$(($(date +%s) % 100000))}
start_cluster 3

story "the judge rejects what it is there to reject"
for rule in overlap fence token release lease error starving; do
    "$bin/load_check" --endpoints "$LOCKSTEP_ENDPOINTS" --clients 20 --keys 2 --seconds 1 --patience-ms 2000 --plant "$rule" \
        >/dev/null 2>"$dir/planted" && fail "a planted break of \"$rule\" was not noticed"
    grep -q "REJECTED $rule" "$dir/planted" || fail "a planted break of \"$rule\" was noticed as something else"
done

story "200 clients, 20 keys, a leader killed every few seconds (seed $seed)"
"$bin/load_check" --endpoints "$LOCKSTEP_ENDPOINTS" --seconds "$seconds" --seed "$seed" &
load=$!
children+=("$load")
kills=0
begin=$(now_ms)
while kill -0 "$load" 2>/dev/null && (($(now_ms) - begin < (seconds - 4) * 1000)); do
    # tidy: sleep because leaders of different ages are to be killed, it waits for nothing
    sleep "$((2 + RANDOM % 2)).$((RANDOM % 10))"
    number=$(local_cluster leader) || continue
    local_cluster kill "$number"
    kills=$((kills + 1))
    local_cluster restart "$number" >/dev/null || fail "node $number does not come back"
done
wait "$load" || fail "the judge rejected what it saw (seed $seed)"
((kills >= 3)) || fail "only $kills leaders were killed"
printf '  %s leaders were killed\n' "$kills"
equal "$("$lockstep" -o json list load/ | python3 -c 'import json,sys; print(len(json.load(sys.stdin)["locks"]))')" 0 \
    "locks left when everybody has gone"
wait_until 20 "the digests to agree" digests_agree

story "all nodes are restarted in turn by SIGTERM, and no client has an error to handle"
"$bin/load_check" --endpoints "$LOCKSTEP_ENDPOINTS" --clients 50 --seconds 12 --seed "$seed" &
load=$!
children+=("$load")
for i in 1 2 3; do
    pid=$(pid_of_node "$i")
    kill -TERM "$pid"
    wait_until 20 "node $i to end" has_ended "$pid"
    tail -n 1 "$dir/cluster/node-$i/log" | grep -q 'event=stopped why="it was asked to"' ||
        fail "node $i did not end in order: $(tail -n 3 "$dir/cluster/node-$i/log")"
    local_cluster restart "$i" >/dev/null || fail "node $i does not come back"
done
wait "$load" || fail "a client saw an error while nodes were restarted in turn (seed $seed)"
