# What the stories on real processes share: a cluster in a directory of its own, and words to say what must hold.
# Every process is ended by its pid and the directory removed, however the story ends.
set -uo pipefail

source_dir=${LOCKSTEP_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
binary_dir=${LOCKSTEP_BINARY_DIR:-$source_dir/build/release}
bin=$binary_dir/bin
lockstep=$bin/lockstep
dir=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-system.XXXXXX")
failures=0
children=()
# All nodes that a story starts check their whole state after every entry.
export LOCKSTEPD_CHECK_INVARIANTS=${LOCKSTEPD_CHECK_INVARIANTS:-always}

local_cluster()
{
    "$source_dir/deploy/local-cluster" "$@" --dir "$dir/cluster" --bin "$bin"
}

# What a sanitizer or an assertion says of a node, at its end too.
reported()
{
    cat "$dir"/*/node-*/log "$dir"/*.log 2>/dev/null |
        grep -aE 'ERROR: (Address|Leak|Thread)Sanitizer|runtime error:|assertion failed'
}

clean_up()
{
    local pid reports
    for pid in "${children[@]}"; do
        kill -9 "$pid" 2>/dev/null
    done
    local_cluster stop >/dev/null 2>&1
    reports=$(reported)
    if ((failures == 0)) && [ -n "$reports" ]; then
        failures=1
        printf 'FAILED: a node reported: %s\n' "$reports" >&2
    fi
    if ((failures > 0)); then
        tail -n 30 "$dir"/cluster/node-*/log >&2 2>/dev/null
    fi
    local_cluster remove >/dev/null 2>&1
    rm -rf "$dir"
    ((failures == 0)) || exit 1
}
trap clean_up EXIT
# A story that is ended from outside (^C) cleans up as well.
trap 'exit 143' INT TERM HUP

# And one that is ended without a word, as ctest does at a time limit, is cleaned up after by a process that is no child of it.
setsid --fork bash -c '
    tail --pid="$1" -f /dev/null
    for file in "$2"/*/cluster; do
        cluster=${file%/cluster}
        for node in "$cluster"/node-*; do
            "$3/deploy/local-cluster" kill "${node##*-}" --dir "$cluster"
        done
    done
    rm -rf "$2"' guard "$$" "$dir" "$source_dir" </dev/null >/dev/null 2>&1

# A failed story ends at once: what follows would only repeat it.
fail()
{
    failures=1
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

story()
{
    printf '%s\n' "- $*"
}

start_cluster()
{
    local_cluster start --nodes "$1" >/dev/null || fail "the cluster of $1 nodes does not start"
    LOCKSTEP_ENDPOINTS=$(cat "$dir/cluster/endpoints")
    export LOCKSTEP_ENDPOINTS
}

now_ms()
{
    date +%s%3N
}

# wait_until SECONDS WHAT COMMAND...: ask again and again until COMMAND succeeds; a bound, not a pause.
wait_until()
{
    local until=$(($(now_ms) + $1 * 1000)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        (($(now_ms) < until)) || fail "$what did not happen in time"
        # tidy: sleep because it only spaces the looks; the condition is beside it
        sleep 0.05
    done
}

# Whether a process has ended. One that nobody has reaped yet has.
has_ended()
{
    ! grep -q 'State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2>/dev/null
}

leader()
{
    wait_until 30 "a leader" local_cluster leader
    local_cluster leader
}

pid_of_node()
{
    cat "$dir/cluster/node-$1/pid"
}

# A field of a lock's status, by a JSON path such as ["holders_count"].
lock_field()
{
    "$lockstep" -o json status "$1" | python3 -c "import json,sys; print(json.load(sys.stdin)$2)"
}

waiters_are()
{
    [ "$(lock_field "$1" '["waiters_count"]')" = "$2" ]
}

holders_are()
{
    [ "$(lock_field "$1" '["holders_count"]')" = "$2" ]
}

equal()
{
    [ "$1" = "$2" ] || fail "$3: \"$1\" instead of \"$2\""
}

digests_agree()
{
    "$lockstep" -o json cluster status | python3 -c '
import json, sys
nodes = [n for n in json.load(sys.stdin)["nodes"]]
if not all(n["reachable"] for n in nodes):
    sys.exit(1)
marks = {(n["digest_index"], n["digest"]) for n in nodes}
indexes = {n["applied_index"] for n in nodes}
sys.exit(0 if len(marks) == 1 and len(indexes) == 1 else 1)'
}
