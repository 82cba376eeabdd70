#!/bin/bash
# Stories of the command line: what a person or a script types, and the exit codes that are promised.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/answers.sh"

start_cluster 1

story "each holder finds a greater fence in its environment"
first=$("$lockstep" lock demo --ttl 10s -- sh -c 'echo $LOCKSTEP_FENCE')
second=$("$lockstep" lock demo --ttl 10s -- sh -c 'echo $LOCKSTEP_FENCE')
((second > first)) || fail "fence $second after $first"
expect_code 0 "$lockstep" lock demo -- sh -c 'test "$LOCKSTEP_KEY" = demo -a "$LOCKSTEP_TOKEN" -ge 1'

story "what a command under a lock asks, it asks the same cluster"
# shellcheck disable=SC2016 # for the inner shell
expect_code 0 env -u LOCKSTEP_ENDPOINTS "$lockstep" -e "$LOCKSTEP_ENDPOINTS" lock demo -- \
    sh -c '"$0" check "$LOCKSTEP_KEY" "$LOCKSTEP_FENCE"' "$lockstep"

story "the command's exit code is returned; a command that is not there, or can not be run, has the shells' codes"
expect_code 7 "$lockstep" lock demo -- sh -c 'exit 7'
expect_code 143 "$lockstep" lock demo -- sh -c 'kill -TERM $$'
expect_code 127 "$lockstep" lock demo -- /nowhere/to/be/found
expect_code 126 "$lockstep" lock demo -- "$dir"

story "signals are passed on to the command"
# tidy: sleep because the command under the lock is to run until it is told to end
"$lockstep" lock demo -- sh -c "trap 'touch $dir/usr1; exit 5' USR1; touch $dir/ready; while :; do sleep 0.05; done" &
running=$!
children+=("$running")
wait_until 20 "the command" test -e "$dir/ready"
kill -USR1 "$running"
wait "$running"
equal $? 5 "exit code of a command that was sent USR1"
[ -e "$dir/usr1" ] || fail "USR1 was not passed on"

story "what is ignored from the start, as by nohup, neither ends the wait nor reaches the command; SIGPIPE is as it was"
handle=$("$lockstep" acquire demo --ttl 1m) || fail "acquire"
# tidy: sleep because the command under the lock is to run until it is told to end
env --ignore-signal=HUP,INT --default-signal=PIPE "$lockstep" lock demo -- sh -c \
    "grep SigIgn /proc/self/status >$dir/ignored; trap 'exit 6' TERM; while :; do sleep 0.05; done" &
running=$!
children+=("$running")
wait_until 20 "the lock to wait" waiters_are demo 1
kill -HUP "$running"
kill -INT "$running"
expect_code 0 "$lockstep" release "$handle"
wait_until 20 "the command" test -s "$dir/ignored"
kill -HUP "$running"
kill -INT "$running"
kill -TERM "$running"
wait "$running"
equal $? 6 "exit code of a command that ignores HUP and INT and was sent TERM"
ignored=$((0x$(sed 's/.*\t//' "$dir/ignored")))
equal $((ignored & 0x1003)) 3 "HUP and INT of what the command ignores, and not PIPE"

story "what the command leaves behind in its process group goes with it"
# tidy: sleep because what is left behind is to run until it is killed
expect_code 0 "$lockstep" lock demo -- sh -c "sleep 1000 >/dev/null 2>&1 & echo \$! >$dir/left"
wait_until 20 "the end of what was left behind" has_ended "$(cat "$dir/left")"

story "as a job of a shell it leaves the terminal to whom it belongs, and is stopped and goes on with its command"
setsid --wait python3 "$(dirname "$0")/jobs.py" "$lockstep" "$dir" || fail "a job"

story "a lock that is held says by whom"
handle=$("$lockstep" acquire demo --ttl 30s --value "for a test") || fail "acquire"
expect_code 120 "$lockstep" lock demo --try -- true
says "held by"
says "$(id -un)"
expect_code 120 "$lockstep" lock demo --wait 200ms -- true
expect_code 0 "$lockstep" -o json status demo
json 'd["holders_count"] == 1 and d["value"] == "for a test" and d["mode"] == "exclusive"'
fence=$(lock_field demo '["fence"]')
expect_code 0 "$lockstep" check demo "$fence"
expect_code 123 "$lockstep" check demo 1
expect_code 0 "$lockstep" extend "$handle" --ttl 1m
left=$(lock_field demo '["holders"][0]["remaining_ms"]')
((left > 30000 && left <= 60000)) || fail "after an extend to 1m $left ms are left"
expect_code 0 "$lockstep" extend "$handle" --ttl 1s
left=$(lock_field demo '["holders"][0]["remaining_ms"]')
((left > 30000)) || fail "an extend to 1s took time away: $left ms are left"
expect_code 0 "$lockstep" release "$handle"
expect_code 123 "$lockstep" release "$handle"
expect_code 123 "$lockstep" extend "$handle" --ttl 1m

story "shared and counting locks"
shared=$("$lockstep" acquire s --ttl 30s --shared) || fail "shared"
expect_code 0 "$lockstep" lock s --shared --try -- true
expect_code 120 "$lockstep" lock s --try -- true
"$lockstep" release "$shared"
one=$("$lockstep" acquire p --ttl 30s --permits 1 --limit 2) || fail "permits"
expect_code 0 "$lockstep" lock p --permits 1 --limit 2 --try -- true
expect_code 120 "$lockstep" lock p --permits 2 --limit 2 --try -- true
expect_code 119 "$lockstep" lock p --permits 1 --limit 3 --try -- true
"$lockstep" release "$one"

story "lists, sessions, the cluster"
handle=$("$lockstep" acquire list/a --ttl 30s) || fail "acquire"
expect_code 0 "$lockstep" -o json list list/
json 'len(d["locks"]) == 1 and d["locks"][0]["key"] == "list/a"'
expect_code 0 "$lockstep" -o json sessions
json 'len(d["sessions"]) >= 1'
expect_code 0 "$lockstep" list
says "list/a"
expect_code 0 "$lockstep" cluster status
says leader
expect_code 0 "$lockstep" -o json cluster status
json 'd["answered_count"] == 1 and d["nodes"][0]["is_leader"]'

story "what a lock's status says to people, and to programs"
expect_code 0 "$lockstep" status nobody/uses
says free
handle=$("$lockstep" acquire st --ttl 30s --permits 2 --limit 3 --value 'build 7') || fail "acquire"
expect_code 0 "$lockstep" status st
says '2 of 3 permits used'
says 'value of 7 bytes: build 7'
says holds
expect_code 0 "$lockstep" -o json status st
json 'd["holders"][0]["permits"] == 2 and d["value"] == "build 7"'
expect_code 0 "$lockstep" status st --stale
expect_code 0 "$lockstep" lock bytes --value $'a\xff\033[2J' -- "$lockstep" -o json status bytes
json 'd["value_hex"] == "61ff1b5b324a"'
expect_code 0 "$lockstep" lock bytes --value $'a\xff\033[2J' -- "$lockstep" status bytes
says 'value of 6 bytes: a\\xff\\x1b\[2J'
if grep -q $'\033' "$dir/out"; then fail "a value reaches the terminal with its escape sequences"; fi
fence=$(lock_field st '["fence"]')
expect_code 0 "$lockstep" check st "$fence"
expect_code 0 "$lockstep" -o json extend "$handle" --ttl 40s
json 'd["extended"] and 30000 < d["remaining_ms"] <= 40000'
expect_code 0 "$lockstep" -o json release "$handle"
json 'd["released"]'
expect_code 0 "$lockstep" -o json acquire st --ttl 30s
json 'd["key"] == "st" and d["token"] == d["fence"] and d["ttl_ms"] == 30000'
token=$(lock_field st '["holders"][0]["token"]')
"$lockstep" lock st --wait 1m -- true &
children+=($!)
wait_until 10 "the second to wait" waiters_are st 1
expect_code 0 "$lockstep" status st
says waits
says "fence $token"
expect_code 117 "$lockstep" force-release st --token $((token + 1000)) --reason "another grant"
says "st: NOT_FOUND: token $((token + 1000)) does not hold this lock"
holders_are st 1 || fail "a grant was taken that was not meant"
expect_code 0 "$lockstep" -o json force-release st --token "$token" --reason "this grant"
json 'd["count"] == 1'
wait "${children[-1]}" || fail "the one who waited was not granted"

story "an acquire that a signal ends while it waits leaves the queue, and has the signal's code"
handle=$("$lockstep" acquire sig --ttl 1m) || fail "acquire"
for signal in INT TERM HUP; do
    # This shell starts what runs beside it with SIGINT ignored, which acquire would go on doing.
    env --default-signal=INT "$lockstep" acquire sig --ttl 24h >"$dir/handle" &
    waiting=$!
    children+=("$waiting")
    wait_until 20 "the acquire to wait" waiters_are sig 1
    kill -"$signal" "$waiting"
    wait "$waiting"
    equal $? $((128 + $(kill -l "$signal"))) "exit code of an acquire that was sent $signal"
    [ ! -s "$dir/handle" ] || fail "it printed a handle"
    waiters_are sig 0 || fail "it still waits after $signal"
done

story "an acquire that was told to ignore SIGHUP goes on waiting"
env --ignore-signal=HUP "$lockstep" acquire sig --ttl 24h &
waiting=$!
children+=("$waiting")
wait_until 20 "the acquire to wait" waiters_are sig 1
kill -HUP "$waiting"
kill -TERM "$waiting"
wait "$waiting"
equal $? 143 "exit code of an acquire that ignores HUP and was sent TERM"

story "a waiting acquire has a short session, which gets the ttl that was asked for with the grant"
session_ttls()
{
    "$lockstep" -o json sessions | python3 -c '
import json, sys
print(*sorted(session["ttl_ms"] for session in json.load(sys.stdin)["sessions"] if session[sys.argv[1]] > 0))' "$1"
}
"$lockstep" acquire sig --ttl 24h >"$dir/handle" &
waiting=$!
children+=("$waiting")
wait_until 20 "the acquire to wait" waiters_are sig 1
equal "$(session_ttls waits_count)" 10000 "ttl of the session that waits"
expect_code 0 "$lockstep" release "$handle"
wait "$waiting" || fail "the one who waited was not granted"
left=$(lock_field sig '["holders"][0]["remaining_ms"]')
((left > 23 * 60 * 60 * 1000)) || fail "after the grant $left ms are left of 24h"
expect_code 0 "$lockstep" release "$(cat "$dir/handle")"

story "a handle that can not be written is nobody's: the lock is given back"
"$lockstep" acquire full --ttl 1m >/dev/full 2>"$dir/err"
equal $? 119 "exit code of an acquire into a full disk"
grep -q 'given back' "$dir/err" || fail "it says: $(cat "$dir/err")"
holders_are full 0 || fail "the lock is held by nobody who knows"
python3 -c '
import os, subprocess, sys
gone, pipe = os.pipe()
os.close(gone)
sys.exit(subprocess.run(sys.argv[1:], stdout=pipe).returncode)' "$lockstep" acquire pipe --ttl 1m 2>"$dir/err"
equal $? 119 "exit code of an acquire into a pipe without a reader"
holders_are pipe 0 || fail "the lock is held by nobody who knows"

story "standard descriptors may be closed: whoever uses them fails, and nobody else"
equal "$("$lockstep" lock closed -- echo ok <&-)" ok "what the command said without standard input"
"$lockstep" lock closed -- sh -c 'exit 7' >&-
equal $? 7 "exit code of a command without standard output"
"$lockstep" lock closed -- sh -c 'exit 7' <&- >&- 2>&-
equal $? 7 "exit code of a command without any of the three"
"$lockstep" status closed <&- >"$dir/out" || fail "a status without standard input"
says free
"$lockstep" status closed >&- 2>"$dir/err"
equal $? 119 "exit code of a status without standard output"
"$lockstep" status closed 2>&- >"$dir/out" || fail "a status without standard error"
says free
"$lockstep" acquire closed --ttl 1m >&- 2>"$dir/err"
equal $? 119 "exit code of an acquire without standard output"
holders_are closed 0 || fail "the lock is held by nobody who knows"

story "a lock-delay keeps the lock closed when its holder is gone"
handle=$("$lockstep" acquire delayed --ttl 200ms --lock-delay 1m) || fail "acquire"
wait_until 20 "the grant to end" holders_are delayed 0
expect_code 120 "$lockstep" lock delayed --try -- true
says 'HELD: closed for another'
expect_code 64 "$lockstep" lock delayed --lock-delay 2h -- true
says '0ms..1h'

story "a lock with a short ttl is kept for longer than that (if the machine lets its processes run)"
# tidy: sleep because a command is to run for several times the ttl
wait_until 60 "a lock with a ttl of 150ms to outlast a second" "$lockstep" lock short --ttl 150ms -- sleep 1

story "an administrator takes a lock away, or ends a session"
expect_code 0 "$lockstep" force-release list/a --reason "a test"
says '^1 grant ended$'
expect_code 123 "$lockstep" release "$handle"
"$lockstep" acquire list/b --ttl 30s >/dev/null || fail "acquire"
session=$(lock_field list/b '["holders"][0]["session_id"]')
expect_code 0 "$lockstep" kill-session "$session" --reason "a test"
says '^1 session ended$'
expect_code 117 "$lockstep" kill-session "$session" --reason "a test"
says "$session: NOT_FOUND: there is no session with this number"
expect_code 117 "$lockstep" force-release nobody/uses --reason "a test"
says 'nobody/uses: NOT_FOUND: nobody holds this lock'
wait_until 10 "the killed session's lock to be free" holders_are list/b 0

story "a lock that waits ends with 123 when its session is ended, and with 121 while the command runs"
handle=$("$lockstep" acquire killed --ttl 1m) || fail "acquire"
# Run COMMAND under a lock whose session is ended while it is among the PLACE (waiters, holders).
session_ends_among() # PLACE CODE COMMAND ...
{
    local place=$1 code=$2
    shift 2
    "$lockstep" lock killed -- "$@" 2>"$dir/err" &
    local locking=$!
    children+=("$locking")
    wait_until 20 "the lock to be among the $place" "${place}_are" killed 1
    "$lockstep" kill-session "$(lock_field killed "[\"$place\"][0][\"session_id\"]")" --reason "a test" >/dev/null
    wait "$locking"
    equal $? "$code" "exit code of a lock whose session was ended while it was among the $place"
}
session_ends_among waiters 123 true
"$lockstep" release "$handle"
session_ends_among holders 121 sleep 100

story "with -o json a failure is an object on standard error"
handle=$("$lockstep" acquire json --ttl 1m) || fail "acquire"
expect_code 120 "$lockstep" -o json acquire json --ttl 1m --try
failure_is 'd["error"] == "HELD" and d["exit_code"] == 120 and d["subject"] == "json" and "held by" in d["message"]'
"$lockstep" release "$handle"
expect_code 123 "$lockstep" -o json release "$handle"
failure_is 'd["error"] == "SESSION_LOST" and d["exit_code"] == 123'
expect_code 117 "$lockstep" -o json kill-session 123456789 --reason x
failure_is 'd["error"] == "NOT_FOUND" and d["subject"] == "123456789"'
expect_code 127 "$lockstep" -o json lock json -- /nowhere/to/be/found
failure_is 'd["error"] == "NO_COMMAND" and d["subject"] == "/nowhere/to/be/found"'
expect_code 122 "$lockstep" -o json -e 127.0.0.1:1 --timeout 1s status json
failure_is 'd["error"] == "UNREACHABLE"'

"$lockstep" -o json status json >/dev/full 2>"$dir/err"
equal $? 119 "exit code of a status into a full disk"
failure_is 'd["error"] == "FAILED"'

story "help says what is the case without being said"
expect_code 0 "$lockstep" lock --help
says 'default of lock: 10s'
says 'default: a quarter of the ttl'
expect_code 0 "$lockstep" force-release --help
says "leader's log"
expect_code 0 "$lockstep" acquire --help
says 'json it also prints the fence'
expect_code 0 "$lockstep" --help
says '127.0.0.1:7400'
if grep -q ' $' "$dir/out"; then fail "blanks at the ends of lines: $(grep -n ' $' "$dir/out")"; fi
sed -n '/^Exit codes/,/^$/s/^ *\([0-9]*\) .*/\1/p' "$dir/out" | sort --check=quiet -n || fail "exit codes are out of order: $(cat "$dir/out")"

story "what is out of bounds is refused by name"
expect_code 64 "$lockstep" lock demo --ttl 25h -- true
says 'allowed are 100ms..24h$'
expect_code 64 "$lockstep" lock demo --ttl 7s --grace 5s -- true
says 'allowed are 0ms..3300ms'
expect_code 64 "$lockstep" lock demo --ttl 5 -- true
says 'such as 500ms, 30s, 5m or 2h'
expect_code 64 "$lockstep" lock demo --ttl 5d -- true
expect_code 64 "$lockstep" lock demo --ttl -1s -- true
expect_code 64 "$lockstep" lock demo --ttl 1ms -- true
expect_code 64 "$lockstep" lock 'no blanks allowed' -- true
says key
expect_code 64 "$lockstep" lock demo
says command
expect_code 64 "$lockstep" lock demo true
says '--'
expect_code 64 "$lockstep" lock demo rsync -av from to
says 'put -- before the command'
expect_code 64 "$lockstep" lock demo --try --wait 1s -- true
expect_code 64 "$lockstep" nonsense
expect_code 64 "$lockstep" -o xml list
expect_code 64 "$lockstep" -e 'not an endpoint' list
expect_code 64 "$lockstep" release not-a-handle
expect_code 64 "$lockstep" force-release demo
expect_code 64 "$lockstep" lock demo --shared --permits 1 --limit 2 -- true
says 'exclude each other'
expect_code 64 "$lockstep" lock demo --permits 1 -- true
says '--limit'
expect_code 64 "$lockstep" lock demo --permits 3 --limit 2 -- true
says '1..2'
expect_code 64 "$lockstep" lock demo --value "$(printf '%4097s' x)" -- true
says '0..4096'
expect_code 64 "$lockstep" force-release demo --reason x --token 0
says '1..'
expect_code 64 "$lockstep" acquire demo
says '--ttl'
expect_code 64 "$lockstep" acquire
says KEY
expect_code 64 "$lockstep" extend
says HANDLE
expect_code 64 "$lockstep" status
says 'KEY is missing'
expect_code 64 "$lockstep" check
says 'KEY is missing'
expect_code 64 "$lockstep" check demo
says 'FENCE is missing'
expect_code 64 "$lockstep" force-release --reason x
says 'KEY is missing'
expect_code 64 "$lockstep" kill-session --reason x
says 'ID is missing'
expect_code 64 "$lockstep" cluster
says status
expect_code 64 "$lockstep" cluster restart
says status
expect_code 64 "$lockstep"
says subcommand
expect_code 0 "$lockstep" --version
says lockstep

story "who can not give the lock back has the command's exit code, and says how long the lock may be held"
# tidy: sleep because the command under the lock is to run until it is told to end
"$lockstep" --timeout 1s -o json lock demo -- sh -c "touch $dir/holding; until [ -e $dir/end ]; do sleep 0.05; done; exit 3" 2>"$dir/err" &
running=$!
children+=("$running")
wait_until 20 "the command" test -e "$dir/holding"
local_cluster kill 1
touch "$dir/end"
wait "$running"
equal $? 3 "exit code of a command whose lock could not be given back"
failure_is 'd["error"] == "UNKNOWN" and d["exit_code"] == 3 and "ttl at the latest" in d["message"]'

story "without a node it says so in time"
begin=$(now_ms)
expect_code 122 "$lockstep" --timeout 1s lock demo --try -- true
(($(now_ms) - begin < 6000)) || fail "it took $(($(now_ms) - begin)) ms"

story "whoever reaches nobody is told whence the endpoints came, unless it is from the command"
expect_code 122 "$lockstep" --timeout 100ms list
says 'endpoints are those of LOCKSTEP_ENDPOINTS$'
expect_code 122 "$lockstep" --timeout 100ms -e "$LOCKSTEP_ENDPOINTS" list
if grep -q 'endpoints are' "$dir/err"; then fail "it explains what was said in the command: $(cat "$dir/err")"; fi
for words in "list" "lock k -- true" "acquire k --ttl 1s"; do
    # shellcheck disable=SC2086 # several words
    expect_code 64 env LOCKSTEP_ENDPOINTS=::1:7400 "$lockstep" $words
    says 'endpoints: "::1:7400" is not "host:port" or "\[v6\]:port" with a port .*endpoints are those of LOCKSTEP_ENDPOINTS$'
done
left=$dir/lockstep-cluster-$(id -un)
mkdir "$left"
printf '127.0.0.1:1\n' >"$left/endpoints"
expect_code 122 env -u LOCKSTEP_ENDPOINTS TMPDIR="$dir" "$lockstep" --timeout 100ms list
says "127.0.0.1:1: .*; the endpoints are those of deploy/local-cluster, from $left/endpoints$"
rm -r "$left"

story "a check of the settings that could not be written is no success"
"$bin/lockstepd" --dev --check-config >/dev/full
equal $? 1 "exit code of --check-config with a full disk for its output"

story "a limit of descriptors that leaves none is told in the last line"
(ulimit -n 8 && exec "$bin/lockstepd" --dev --listen 127.0.0.1:0) 2>"$dir/err"
equal $? 1 "exit code of a node with 8 descriptors"
says 'event=exit code=1 name=INTERNAL .*too many open files'
for command in "lock demo -- true" "acquire demo --ttl 1s" list; do
    (ulimit -n 8 && exec "$lockstep" $command) 2>"$dir/err"
    equal $? 119 "exit code of lockstep $command with 8 descriptors"
    says 'SYSTEM: .*too many open files'
done

story "a node stops in time though the name of another is being looked up, and nobody answers"
preload=(LD_PRELOAD="$binary_dir/tests/system_silent_names.so" ASAN_OPTIONS="${ASAN_OPTIONS:-}:verify_asan_link_order=0")
peers="$(sed -n 's/^peers = //p' "$dir/cluster/node-1/lockstepd.conf"), 2=two.test:7500/two.test:7400"
env "${preload[@]}" "$bin/lockstepd" --config "$dir/cluster/node-1/lockstepd.conf" --data-dir "$dir/names" --peers "$peers" \
    2>"$dir/names.log" &
node=$!
children+=("$node")
wait_until 20 "the node to start" grep -q event=started "$dir/names.log"
kill -TERM "$node"
wait_until 10 "the end of the node" has_ended "$node"
wait "$node"
equal $? 0 "exit code of a node that stops amid a lookup"
tail -n 1 "$dir/names.log" | grep -q event=stopped || fail "its last line is $(tail -n 1 "$dir/names.log")"

story "a node may be started without standard descriptors, and serves"
"$bin/lockstepd" --config "$dir/cluster/node-1/lockstepd.conf" <&- >&- 2>&- &
node=$!
children+=("$node")
wait_until 30 "the node to serve" "$lockstep" list
"$lockstep" lock demo -- true || fail "a lock"
kill -TERM "$node"
wait "$node"
equal $? 0 "exit code of a node without standard descriptors"
