#!/bin/bash
# Stories of what is on disk: a follower that lags behind the log, a directory that is lost, an orderly restart of all.
. "$(dirname "$0")/lib.sh"

cut_behind()
{
    "$lockstep" -o json cluster status | python3 -c "
import json, sys
nodes = json.load(sys.stdin)['nodes']
sys.exit(0 if any(n['reachable'] and n['log_first_index'] > $1 for n in nodes) else 1)"
}

export LOCKSTEPD_SNAPSHOT_AFTER=64KiB LOCKSTEPD_LOG_TRAILING=0B LOCKSTEPD_LOG_SEGMENT=1MiB
start_cluster 3

story "a follower that was down until the others cut their logs catches up by snapshot, and all digests agree"
follower=$(($(leader) % 3 + 1))
handle=$("$lockstep" acquire kept --ttl 10m) || fail "acquire"
wait_until 20 "the follower to be level" digests_agree
applied=$("$lockstep" -o json cluster status | python3 -c 'import json,sys; print(max(n["applied_index"] for n in json.load(sys.stdin)["nodes"]))')
local_cluster kill "$follower"
for ((i = 0; i < 30; i++)); do
    "$bin/bench_load" --workload w1 --endpoints "$LOCKSTEP_ENDPOINTS" --clients 64 --warmup 0 --seconds 1 >/dev/null \
        || fail "locks with one node down"
    cut_behind "$applied" && break
done
cut_behind "$applied" || fail "the others did not cut their logs"
local_cluster restart "$follower" >/dev/null || fail "node $follower does not come back"
wait_until 30 "the digests to agree" digests_agree
grep -q 'snapshot at entry .* is in place' "$dir/cluster/node-$follower/log" || fail "it did not catch up by snapshot"
equal "$(lock_field kept '["holders_count"]')" 1 "holders of a lock from before the snapshot"

story "a node whose directory was lost does not take part again, and says what to do"
local_cluster kill "$follower"
rm -rf "$dir/cluster/node-$follower/data"
timeout 60 "$bin/lockstepd" --config "$dir/cluster/node-$follower/lockstepd.conf" >"$dir/lost.log" 2>&1
code=$?
equal "$code" 6 "exit code of a node with another directory than the one it had"
grep -q 'directory was lost or replaced' "$dir/lost.log" || fail "it does not say what is wrong: $(tail -1 "$dir/lost.log")"
"$lockstep" lock alive --ttl 3s -- true || fail "the others do not go on"
"$lockstep" release "$handle" || fail "release"
