#!/bin/bash
# Stories of `lockstep cluster`: what it shows and says of three nodes, of nodes that are gone, and of two clusters at once.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/answers.sh"

# Beside lib.sh's cluster one of another name, which goes when the story ends.
other_cluster()
{
    LOCKSTEPD_CLUSTER=other "$source_dir/deploy/local-cluster" "$@" --dir "$dir/other" --bin "$bin" >/dev/null
}

clean_up_both()
{
    other_cluster remove 2>/dev/null
    clean_up
}
trap clean_up_both EXIT

leads()
{
    [ "$("$lockstep" -o json cluster status | python3 -c 'import json,sys; print(json.load(sys.stdin)["leader_id"])')" = "$1" ]
}

not_leads()
{
    ! leads "$1" && ! leads 0
}

start_cluster 3

story "all is well: the check says so, and the text shows the cluster's id"
expect_code 0 "$lockstep" cluster status --check
says "^cluster [1-9][0-9]*$"
says leader
id=$(sed -n 's/^cluster //p' "$dir/out")
[ ! -s "$dir/err" ] || fail "it complains: $(cat "$dir/err")"
expect_code 0 "$lockstep" -o json cluster status --check
json "d['cluster_id'] == '$id' and d['answered_count'] == 3"

story "leadership is handed to the node that is named, or to any other"
from=$(leader)
to=$((from % 3 + 1))
wait_until 20 "the digests to agree" digests_agree
expect_code 0 "$lockstep" cluster transfer "$to"
says "hands over to node $to"
wait_until 20 "node $to to lead" leads "$to"
expect_code 0 "$lockstep" cluster transfer "$to"
leads "$to" || fail "node $to was named, led, and leads no more"
expect_code 0 "$lockstep" -o json cluster transfer
json 'd["begun"]'
wait_until 20 "another to lead" not_leads "$to"
expect_code 117 "$lockstep" cluster transfer 9
says 'NOT_FOUND'
expect_code 64 "$lockstep" cluster transfer nobody
says NODE
expect_code 64 "$lockstep" cluster transfer 1 2
expect_code 64 "$lockstep" cluster transfer --check
says 'status only'

story "an endpoint of another cluster is shown as such, and is an error; the first that answers says which cluster it is"
other_cluster start --nodes 1 || fail "the other cluster does not start"
other=$(cat "$dir/other/endpoints")
expect_code 122 "$lockstep" -e "$LOCKSTEP_ENDPOINTS,$other" cluster status
says "^cluster $id$"
says "$other *foreign"
says "WRONG_CLUSTER: a node of cluster"
expect_code 122 "$lockstep" -e "$LOCKSTEP_ENDPOINTS,$other" -o json cluster status
json "d['cluster_id'] == '$id' and d['answered_count'] == 3 and len(d['nodes']) == 4"
json "[n['address'] for n in d['nodes'] if not n['reachable']] == ['$other'] and d['leader_id'] > 0"
expect_code 122 "$lockstep" -e "$other,$LOCKSTEP_ENDPOINTS" -o json cluster status
json "d['cluster_id'] != '$id' and d['answered_count'] == 1 and len(d['nodes']) == 4"
expect_code 122 "$lockstep" -e "$other,$LOCKSTEP_ENDPOINTS" cluster status --check
other_cluster remove

story "a node that does not answer is an error for the check only, which names it"
down=$(leader)
local_cluster kill "$down"
wait_until 20 "another leader" local_cluster leader
expect_code 0 "$lockstep" cluster status
says " down "
expect_code 119 "$lockstep" cluster status --check
grep -q "node $down does not answer" "$dir/err" || fail "it says: $(cat "$dir/err")"
says "leader"

story "without a leader the check has a code of its own, and the text names who is missing"
for number in 1 2 3; do
    [ "$number" = "$down" ] || left=$number
done
second=$((6 - down - left))
local_cluster kill "$second"
wait_until 30 "the last one to see that it has no leader" leads 0
expect_code 122 "$lockstep" cluster status --check
says "no leader: .*; no answer from node $((down < second ? down : second)) (.*), node $((down < second ? second : down)) (.*)"
grep -q "there is no leader" "$dir/err" || fail "it says: $(cat "$dir/err")"
expect_code 0 "$lockstep" cluster status
local_cluster kill "$left"
expect_code 122 "$lockstep" cluster status --check
says "no node answered"

story "of a cluster that has not begun it says what its first start needs, and of a node without a number no number"
"$bin/lockstepd" --config "$dir/cluster/node-1/lockstepd.conf" --data-dir "$dir/new" 2>"$dir/new.log" &
children+=($!)
wait_until 20 "the new node to start" grep -q event=started "$dir/new.log"
expect_code 0 "$lockstep" cluster status
says "no leader: the first start of a cluster needs all of its nodes once, .*; no answer from the node (127.0.0.1:"
expect_code 122 "$lockstep" cluster status --check
says "UNREACHABLE: the node does not answer"
