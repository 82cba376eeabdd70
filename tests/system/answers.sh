# What the stories of the command line ask of one command: its exit code and what it says. After lib.sh.

# expect_code CODE COMMAND...: its output is then in $dir/out and $dir/err.
expect_code()
{
    local expected=$1
    shift
    "$@" >"$dir/out" 2>"$dir/err"
    equal $? "$expected" "exit code of: $*"
}

# says PATTERN: on either of both.
says()
{
    grep -q -- "$1" "$dir/out" "$dir/err" || fail "\"$1\" is not in the answer: $(cat "$dir/out" "$dir/err")"
}

# json CONDITION: of `d`, what was printed.
json()
{
    python3 -c "import json,sys; d=json.load(open('$dir/out')); sys.exit(0 if ($1) else 1)" || fail "not so: $1 in $(cat "$dir/out")"
}

# failure_is CONDITION: the same of what was said on standard error.
failure_is()
{
    python3 -c "import json,sys; d=json.load(open('$dir/err')); sys.exit(0 if ($1) else 1)" || fail "not so: $1 in $(cat "$dir/err")"
}
