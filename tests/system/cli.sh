#!/bin/bash
# Stories of the command line: what a person or a script types, and the exit codes that are promised.
. "$(dirname "$0")/lib.sh"

expect_code()
{
    local expected=$1
    shift
    "$@" >"$dir/out" 2>"$dir/err"
    equal $? "$expected" "exit code of: $*"
}

says()
{
    grep -q -- "$1" "$dir/out" "$dir/err" || fail "\"$1\" is not in the answer: $(cat "$dir/out" "$dir/err")"
}

json()
{
    python3 -c "import json,sys; d=json.load(open('$dir/out')); sys.exit(0 if ($1) else 1)" || fail "not so: $1 in $(cat "$dir/out")"
}

start_cluster 1

story "each holder finds a greater fence in its environment"
first=$("$lockstep" lock demo --ttl 10s -- sh -c 'echo $LOCKSTEP_FENCE')
second=$("$lockstep" lock demo --ttl 10s -- sh -c 'echo $LOCKSTEP_FENCE')
((second > first)) || fail "fence $second after $first"
expect_code 0 "$lockstep" lock demo -- sh -c 'test "$LOCKSTEP_KEY" = demo -a "$LOCKSTEP_TOKEN" -ge 1'

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
expect_code 0 "$lockstep" -o json extend "$handle" --ttl 20s
json 'd["extended"] and 0 < d["remaining_ms"] <= 20000'
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
holders_are st 1 || fail "a grant was taken that was not meant"
expect_code 0 "$lockstep" -o json force-release st --token "$token" --reason "this grant"
json 'd["count"] == 1'
wait "${children[-1]}" || fail "the one who waited was not granted"

story "an administrator takes a lock away, or ends a session"
expect_code 0 "$lockstep" force-release list/a --reason "a test"
expect_code 123 "$lockstep" release "$handle"
"$lockstep" acquire list/b --ttl 30s >/dev/null || fail "acquire"
session=$(lock_field list/b '["holders"][0]["session_id"]')
expect_code 0 "$lockstep" kill-session "$session" --reason "a test"
expect_code 117 "$lockstep" kill-session "$session" --reason "a test"
wait_until 10 "the killed session's lock to be free" holders_are list/b 0

story "what is out of bounds is refused by name"
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
expect_code 64 "$lockstep" cluster
says status
expect_code 64 "$lockstep" cluster restart
says status
expect_code 64 "$lockstep"
says subcommand
expect_code 0 "$lockstep" --version
says lockstep

story "without a node it says so in time"
local_cluster kill 1
begin=$(now_ms)
expect_code 122 "$lockstep" --timeout 1s lock demo --try -- true
(($(now_ms) - begin < 6000)) || fail "it took $(($(now_ms) - begin)) ms"
