#!/bin/bash
# Stories of what a stranger may send: the cluster goes on serving, its memory stays bounded, its log is not flooded.
. "$(dirname "$0")/lib.sh"

start_cluster 3
number=$(leader)
endpoint=$(cut -d, -f"$number" <<<"$LOCKSTEP_ENDPOINTS")
log=$dir/cluster/node-$number/log
seed=${LOCKSTEP_SEED:-$(($(date +%s) % 100000))}

story "garbage at the client port (seed $seed)"
python3 "$(dirname "$0")/garbage.py" "$endpoint" "$(pid_of_node "$number")" "$seed" "$lockstep" lock hostile --ttl 5s -- true \
    || fail "garbage, seed $seed"
for event in bad_frame hello_refused; do
    grep -q "event=$event" "$log" || fail "the log does not name $event"
done
lines=$(grep -c 'level=warning' "$log")
((lines < 200)) || fail "the log is flooded: $lines warnings"
"$lockstep" lock hostile --ttl 5s -- true || fail "a lock after the garbage"
wait_until 20 "the digests to agree" digests_agree
