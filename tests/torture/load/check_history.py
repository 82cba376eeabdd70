#!/usr/bin/env python3
"""Whether a history of torture_load is well formed (../history.md), told by other code than the judge's.

usage: check_history.py [--torn] HISTORY [FINAL]

Prints what it counted. --torn: the load was killed, so that operations may be open and the last line may be cut."""

import collections
import re
import sys

LINE = re.compile(r"\{:process (\d+) :type :(invoke|ok|fail|info) :f :([a-z]+) :time (\d+) :value \{(.*)\}\}\n$")
FIELD = re.compile(r':([a-z-]+) ("[^"]*"|\[[^\]]*\]|[^\s"\[\]]+)(?: |$)')
# What each operation says when it is asked for, and besides when it was done.
ASKED = {"acquire": {"key", "owner", "mode", "wait-ms", "ttl-ms"}, "release": {"key", "owner", "session", "token"},
         "extend": {"key", "owner", "session", "token", "ttl-ms"}, "open": {"owner", "ttl-ms"},
         "renew": {"owner", "session", "ttl-ms"}, "close": {"owner"}, "check": {"key", "owner", "token", "fence"},
         "status": {"key"}, "lost": {"key", "owner", "session", "token", "reason"}, "final": {"key", "holders", "waiters"}}
DONE = {"acquire": {"session", "token", "fence"}, "check": {"current"}, "status": {"holders", "waiters"}}
# Results that are known not to be done; every other one that is not ok is :info.
NOT_DONE = {"HELD", "TIMED_OUT", "CANCELLED", "NOT_HELD", "SESSION_LOST", "UNREACHABLE", "LIMIT"}


class Wrong(Exception):
    pass


def need(condition, text):
    if not condition:
        raise Wrong(text)


class Checker:
    def __init__(self):
        self.time = 0
        self.open = {}      # process: (f, fields)
        self.retired = set()
        self.granted = {}   # token: fields of its grant
        self.ttl = {}       # owner: the longest TTL of its session; a shorter one does not move the deadline back
        self.released = set()
        self.counts = collections.Counter()

    def fields(self, text):
        found = FIELD.findall(text)
        need(" ".join(f":{name} {value}" for name, value in found) == text, "a value that is no list of fields")
        need(len(dict(found)) == len(found), "a field is there twice")
        return dict(found)

    def line(self, text):
        match = LINE.match(text)
        need(match, "no line of a history")
        process, kind, f, time, value = match.groups()
        need(f in ASKED, f"no operation :{f}")
        fields = self.fields(value)
        missing = ASKED[f] - set(fields)
        need(not missing, f":{f} without {missing}")
        need(int(time) >= self.time, "time goes back")
        self.time = int(time)
        self.counts[f"{f} {kind}"] += 1
        if f in ("lost", "final"):
            self.event(kind, f, fields)
        elif kind == "invoke":
            need(process not in self.open, "the process has an operation open")
            need(process not in self.retired, "the process had an operation that nobody knows the end of")
            self.open[process] = (f, fields)
            self.invoked(f, fields)
        else:
            self.completed(process, kind, f, fields)

    def event(self, kind, f, fields):
        need(kind == "info", f":{f} is only :info")
        need(f != "lost" or fields["token"] in self.granted, "what is lost was never granted")
        need(int(fields.get("certain", 0)) <= self.time, ":certain lies in the future")

    def invoked(self, f, fields):
        if f in ("open", "renew", "acquire") and "own" not in fields:
            self.ttl[fields["owner"]] = max(self.ttl.get(fields["owner"], 0), int(fields["ttl-ms"]))
        if f in ("release", "extend", "check"):
            grant = self.granted.get(fields["token"])
            need(grant, f"{f} of what was never granted")
            need(all(fields[name] == grant[name] for name in ("key", "owner", "session", "fence") if name in fields),
                 f"{f} of another grant")
        if f == "release":
            need(int(fields.get("certain", 0)) <= self.time, ":certain lies in the future")
        need(fields.get("mode") != ":permits" or {"count", "limit"} <= set(fields), "permits without :count and :limit")

    def completed(self, process, kind, f, fields):
        need(process in self.open, "a completion of nothing")
        asked, before = self.open.pop(process)
        need(asked == f, "a completion of another operation")
        need(all(fields.get(name) == value for name, value in before.items()), "the completion says something else was asked")
        need(kind == "ok" or "error" in fields, "no :error")
        if kind == "ok":
            need(DONE.get(f, set()) <= set(fields), f":ok without {DONE.get(f)}")
            self.done(f, fields)
        elif kind == "fail":
            need(fields["error"][1:] in NOT_DONE, f"{fields['error']} as :fail")
        else:
            self.retired.add(process)

    def done(self, f, fields):
        if f == "acquire":
            need(fields["token"] not in self.granted, "a token is granted twice")
            self.granted[fields["token"]] = fields
            longest = int(fields["ttl-ms"]) if "own" in fields else self.ttl[fields["owner"]]
            need(int(fields.get("certain-until", 0)) <= self.time + longest * 1000000, "certain for longer than the lease")
        elif f == "release":
            need(fields["token"] not in self.released, "released twice with ok")
            self.released.add(fields["token"])


def check(path, torn):
    checker = Checker()
    with open(path, encoding="ascii", newline="\n") as file:
        lines = file.readlines()
    if torn and lines and not lines[-1].endswith("\n"):
        lines.pop()
    for number, text in enumerate(lines, start=1):
        try:
            checker.line(text)
        except Wrong as wrong:
            raise Wrong(f"{path}:{number}: {wrong}\n{text}") from None
    need(torn or not checker.open, f"{path}: {len(checker.open)} operations never completed")
    return checker.counts


def main(arguments):
    torn = "--torn" in arguments
    paths = [argument for argument in arguments if argument != "--torn"]
    if not paths or any(path.startswith("-") for path in paths):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        for path in paths:
            counts = check(path, torn)
            print(", ".join(f"{name} {number}" for name, number in sorted(counts.items())))
    except Wrong as wrong:
        print(f"check_history.py: {wrong}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
