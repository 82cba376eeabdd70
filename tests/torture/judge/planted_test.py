#!/usr/bin/env python3
"""Each history in planted/ is rejected by exactly the rule that its name begins with, each in good/ is accepted, and what is
no history is refused by file, line and reason.

usage: planted_test.py PATH/torture_judge
"""

import glob
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

NOT_HISTORIES = [
    ("", b"", None),
    ("; only a comment\n\n", b"", None),
    ("{:process 1 :type :invoke :f :status :time 1 :value {:key \"k\"}}\n{:process 1 :type :o", b"", None),
    ("{:process 1 :type :invoke\n{:process 2}\n", b":1:", "a bracket is not closed"),
    ("{:process 1 :type :invoke :f :acquire :value {}}\n", b":1:", "needs :time"),
    ("{:process 1 :type :begin :f :acquire :time 1 :value {}}\n", b":1:", "needs :type"),
    ("{:process 1 :type :invoke :time 1 :value {}}\n", b":1:", "needs :f"),
    ("{:type :invoke :f :status :time 1 :value {:key \"k\"}}\n", b":1:", "needs :process"),
    ("{:process 1 :type :invoke :f :status :time 1 :value {}}\n", b":1:", "needs :key"),
    ("{:process 1 :type :invoke :f :status :time 1 :value {:key 5}}\n", b":1:", ":key is a string"),
    ("{:process 1 :type :invoke :f :status :time 1 :value {:key}}\n", b":1:", "a key without a value"),
    ("{:process 1 :type :invoke :f :status :time 1 :value {:key \"k\"}}}\n", b":1:", "behind the end"),
    ("{:process 1 :type :invoke :f :status :time 99999999999999999999 :value {:key \"k\"}}\n", b":1:", "64 bits"),
    ("{:process 1 :type :invoke :f :status :time 1 :value {:key \"k}}\n", b":1:", "a string does not end"),
    ("{:process 1 :type :invoke :f :status :time 1 :value {:key \"k\"}}\n" * 2, b":2:", "has an operation open, since line 1"),
    ("{:process 1 :type :invoke :f :partition :time 1 :value {}}\n", b":1:", "only the operations of history.md"),
    ("{:process 1 :type :invoke :f :status :time 1 :value {:key \"k\"}}\n"
     "{:process 1 :type :ok :f :close :time 1 :value {:key \"k\"}}\n", b":2:", "not that of the operation that is open"),
    ("[" * 20 + "]" * 20 + "\n", b":1:", "nested more than 16 deep"),
    ("[" + "1 " * 5000 + "]\n", b":1:", "more than 4096 values"),
    ("{:process #inst \"2026\"}\n", b":1:", "tags"),
    ("x" * 2000000 + "\n", b":1:", "longer than 1 MiB"),
]


def judge(program, arguments):
    done = subprocess.run([program] + arguments, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr


def rejections(text):
    """{rule: how often}, out of the table of rules."""
    table = text[text.index("\nrule "):].splitlines()[2:]
    rows = [line.split() for line in table if len(line.split()) > 3 and line.split()[1].isdigit()]
    return {row[0]: int(row[2]) for row in rows if int(row[2]) > 0}


def check_planted(program):
    wrong = 0
    rules = set()
    for path in sorted(glob.glob(os.path.join(HERE, "planted", "*.edn"))):
        rule = os.path.basename(path).split("-")[0]
        with tempfile.TemporaryDirectory() as directory:
            code, text, error = judge(program, ["--svg", os.path.join(directory, "svg"), path])
            drawn = os.listdir(os.path.join(directory, "svg")) if code == 1 else []
        found = rejections(text) if code == 1 else {}
        if list(found) != [rule] or len(drawn) != sum(found.values()):
            print(f"{path}: should be rejected by {rule} alone, with a drawing each; exit code {code}, {found}, {drawn}")
            print(error.decode())
            wrong += 1
        rules.add(rule)
    return wrong, rules


def check_good(program):
    wrong = 0
    for path in sorted(glob.glob(os.path.join(HERE, "good", "*.edn"))):
        code, text, error = judge(program, [path])
        if code != 0:
            print(f"{path}: should be accepted\n{text}{error.decode()}")
            wrong += 1
    return wrong


def check_refused(program):
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "history.edn")
        for text, where, reason in NOT_HISTORIES:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            code, _, error = judge(program, [path])
            good = code == 0 if reason is None else code == 2 and reason.encode() in error and path.encode() + where in error
            if not good:
                print(f"{text[:80]!r}: should be refused with {reason!r}; exit code {code}, {error!r}")
                wrong += 1
    for arguments in ([], ["/no/such/file"], ["--calm-seconds", "x", path], ["--no-such-option", path]):
        code, _, error = judge(program, arguments)
        if code != 2 or not error.startswith(b"torture_judge: ") and b"usage" not in error:
            print(f"{arguments}: exit code {code}, {error!r}")
            wrong += 1
    return wrong


def main():
    program = sys.argv[1]
    wrong, rules = check_planted(program)
    _, text, _ = judge(program, [sorted(glob.glob(os.path.join(HERE, "good", "*.edn")))[0]])
    table = text[text.index("\nrule "):].splitlines()[2:]
    unplanted = {line.split()[0] for line in table if len(line.split()) > 3 and line.split()[1].isdigit()} - rules
    if unplanted:
        print(f"no history is planted for {', '.join(sorted(unplanted))}")
        wrong += 1
    wrong += check_good(program) + check_refused(program)
    print("all as they should be" if wrong == 0 else f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
