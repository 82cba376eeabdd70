#!/usr/bin/env python3
"""The rules of this repository that a program can check.

usage: tidy.py [--root DIR] [--list]

Prints one line for each violation, and exits with 1 if there is one. A rule gives way to a comment that argues for it,
on the line or directly above it:

    /* tidy: strncpy because the field of the kernel's structure is padded with zeros */

with the word that the message names ("long" for the limits on functions and files), and a reason of three words or more.
LOCKSTEP_TIDY_WORDS may name a file with further words, one a line, that must not appear anywhere.
"""

import argparse
import os
import re
import sys

from source import c_functions, read_sources

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600

RULES = []


class Violation:
    """What a rule found; `word` is the one that an exception has to name."""

    def __init__(self, line, word, text):
        self.line = line
        self.word = word
        self.text = text


def rule(function):
    """A rule takes a Source and yields violations; its docstring is what --list says."""
    RULES.append(function)
    return function


def matches(source, lines, pattern):
    """(line number, match) for every place in the given lines that has the pattern and no exception for its text."""
    for number, line in enumerate(lines, start=1):
        for match in re.finditer(pattern, line):
            yield number, match


# ---- size ----

@rule
def long_function(source):
    """A C function has at most 70 lines, signature and braces included."""
    if not source.is_c:
        return
    for function in c_functions(source):
        lines = function.last - function.first + 1
        if lines <= FUNCTION_LINES_MAX:
            continue
        if not source.excepts("long", source.comment_start(function.first), function.last):
            text = f"{function.name}() has {lines} lines, at most {FUNCTION_LINES_MAX} are allowed"
            yield Violation(function.first, "long", text)


@rule
def long_file(source):
    """A program's file has at most 600 lines."""
    lines = len(source.lines)
    if not source.is_program() or lines <= FILE_LINES_MAX:
        return
    head = next((number for number, line in enumerate(source.code, start=1) if source.is_c and line.strip()), 20)
    if not source.excepts("long", 1, head):
        yield Violation(1, "long", f"the file has {lines} lines, at most {FILE_LINES_MAX} are allowed")


# ---- functions that are not called ----

BANNED = {
    "strcpy": "copies without a bound; memcpy with a checked length",
    "stpcpy": "copies without a bound; memcpy with a checked length",
    "strcat": "appends without a bound; snprintf",
    "strncpy": "may leave no terminator; memcpy with a checked length",
    "strncat": "its bound is not the buffer's size; snprintf",
    "sprintf": "writes without a bound; snprintf",
    "vsprintf": "writes without a bound; vsnprintf",
    "gets": "reads without a bound; fgets",
    "scanf": "overflows are undefined; strtoull and checks",
    "sscanf": "overflows are undefined; strtoull and checks",
    "fscanf": "overflows are undefined; strtoull and checks",
    "atoi": "hides errors; strtoull and checks",
    "atol": "hides errors; strtoull and checks",
    "atoll": "hides errors; strtoull and checks",
    "atof": "hides errors; strtod and checks",
    "strtok": "keeps global state; strchr or memchr",
    "rand": "keeps global state and repeats itself; getrandom, or a generator with a seed of its own",
    "srand": "keeps global state; a generator with a seed of its own",
    "random": "keeps global state and repeats itself; getrandom, or a generator with a seed of its own",
    "drand48": "keeps global state; a generator with a seed of its own",
    "alloca": "a stack overflow can not be noticed; malloc",
    "system": "runs a shell; posix_spawn",
    "popen": "runs a shell; posix_spawn",
    "tmpnam": "can be raced; mkstemp",
    "mktemp": "can be raced; mkstemp",
    "localtime": "keeps global state; localtime_r",
    "gmtime": "keeps global state; gmtime_r",
    "ctime": "keeps global state; strftime",
    "asctime": "keeps global state; strftime",
    "setjmp": "jumps unseen",
    "longjmp": "jumps unseen",
    "sleep": "time is not synchronisation; wait for what has to happen",
    "usleep": "time is not synchronisation; wait for what has to happen",
    "nanosleep": "time is not synchronisation; wait for what has to happen",
    "assert": "goes away with NDEBUG; LOCKSTEP_ASSERT or _Static_assert",
}


@rule
def banned_function(source):
    """Functions without bounds, with hidden state, or that wait by sleeping are not called in C."""
    if not source.is_c:
        return
    names = "|".join(BANNED)
    for number, match in matches(source, source.code, rf"(?<![\w.>])({names})\s*\("):
        if match.group(1) == "sscanf" and source.path.startswith("tests/"):
            continue # what tests parse is written beside them
        yield Violation(number, match.group(1), f"{match.group(1)}(): {BANNED[match.group(1)]}")


@rule
def sleeping_script(source):
    """Scripts do not wait by sleeping."""
    if source.is_shell():
        pattern = r"(?:^|[;&|]|\bdo\b|\bthen\b|\belse\b)\s*sleep\s"
    elif source.path.endswith(".py"):
        pattern = r"\btime\.sleep\("
    else:
        return
    for number, _ in matches(source, source.code, pattern):
        yield Violation(number, "sleep", f"sleep: {BANNED['sleep']}")


# ---- what depends on what ----

INCLUDE = r'^\s*#\s*include\s*([<"][^>"]*[>"])'

# For each part, the folders whose headers it may include; tests may include any.
ARROWS = {
    "protocol": ("protocol/",),
    "raft_fsm": ("protocol/", "raft_fsm/"),
    "node/replica": ("protocol/", "raft_fsm/", "node/replica/", "node/time.h", "node/logger_level.h",
                     "node/rate_window.h"),
    "node": ("protocol/", "raft_fsm/", "node/"),
    "client": ("protocol/", "client/", "lockstep.h"),
}
RAFT_FOLDERS = ("node/replica/", "tests/")


def part_of(path):
    return next((part for part in ARROWS if path.startswith(part + "/")), None)


@rule
def forbidden_include(source):
    """Folders depend on each other only along the arrows of the design; includes are written from the root."""
    if not source.is_c:
        return
    part = part_of(source.path)
    for number, match in matches(source, source.code, INCLUDE):
        name = match.group(1)[1:-1]
        quoted = match.group(1).startswith('"')
        if ".." in name.split("/"):
            yield Violation(number, "include", f"{name}: includes are written from the repository's root")
        elif re.match(r"raft(\.h$|/)", name) and not source.path.startswith(RAFT_FOLDERS):
            yield Violation(number, "include", f"<{name}> is included only in node/replica/")
        elif part and quoted and not name.startswith(ARROWS[part]):
            yield Violation(number, "include", f"{part}/ does not include {name}")


# What the two pure parts do not name, so that they can not have it.
PURE_HEADERS = {
    "time.h", "sys/time.h", "sys/timerfd.h", "sys/random.h", "stdio.h", "uv.h", "raft.h", "unistd.h", "fcntl.h",
    "pthread.h", "threads.h", "signal.h", "syslog.h", "sys/socket.h", "sys/stat.h", "netinet/in.h", "locale.h",
}
PURE_NAMES = (
    r"clock_gettime|clock|gettimeofday|timespec_get|time|localtime_r|gmtime_r|strftime|"
    r"getrandom|getentropy|arc4random\w*|rand_r|random_r|RAND_bytes|getenv|setlocale|"
    r"v?[fd]?printf|v?snprintf|puts|fputs|putchar|fopen|fdopen|fread|fwrite|perror|syslog|"
    r"uv_\w+|raft_(?!fsm)\w+")


@rule
def impure_state_machine(source):
    """raft_fsm/ names no clock, no randomness, no stdio, no libuv, no libraft, and keeps no global state."""
    if not source.is_c or not source.path.startswith("raft_fsm/"):
        return
    for number, match in matches(source, source.code, INCLUDE):
        if match.group(1)[1:-1] in PURE_HEADERS:
            yield Violation(number, "pure", f"{match.group(1)} has no place in the state machine")
    for number, match in matches(source, source.code, rf"(?<![\w.>])({PURE_NAMES})\s*\("):
        yield Violation(number, "pure", f"{match.group(1)}() has no place in the state machine")
    for number, match in matches(source, source.code, r"\b(uv_\w+_t|struct raft\w*|FILE|stdout|stderr|__DATE__|__TIME__)\b"):
        yield Violation(number, "pure", f"{match.group(1)} has no place in the state machine")
    pattern = r"^\s*(?:static|_Thread_local|extern)\s+(?!const\b|inline\b|_Noreturn\b)(?!.*\bconst\s+\w+\s*\[)[^()]*(?:;|=.*)$"
    for number, match in matches(source, source.code, pattern):
        yield Violation(number, "pure", "the state machine keeps no global state; make it const or part of struct fsm")


# ---- nothing of one machine ----

# Written so that these lines do not match themselves.
MACHINE_PATHS = r"(?<![\w.~$}*)-])/(?:work|home|root|Users)(?=$|[/\s\"'`;:,)])"
HOST = (r"\b[a-z][a-z+]*://(?P<address>[A-Za-z0-9][A-Za-z0-9.-]*)|"
        r"(?<![\w@.-])(?P<name>(?:[a-z0-9-]+\.)+(?:org|com|net))\b")
HOST_ALLOWED = re.compile(r"localhost|[\d.]+|(.*\.)?example(\.(com|org|net))?|.*\.invalid|.*\.test")


@rule
def machine_path(source):
    """No path that exists on one machine only."""
    for number, match in matches(source, source.lines, MACHINE_PATHS):
        yield Violation(number, "path", f"{match.group()} is a path of one machine")


@rule
def host_name(source):
    """No host but the examples: mirrors and registries are read from the machine's configuration."""
    lines = source.strings if source.is_c else source.lines
    for number, match in matches(source, lines, HOST):
        host = match.group("address") or match.group("name")
        if not HOST_ALLOWED.fullmatch(host):
            yield Violation(number, "host", f"{host} is the name of a host")


def forbidden_words():
    path = os.environ.get("LOCKSTEP_TIDY_WORDS")
    if not path:
        return []
    with open(path, encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]


@rule
def forbidden_word(source):
    """No marks of unfinished work, no numbers of some tracker, nothing that LOCKSTEP_TIDY_WORDS lists."""
    for number, match in matches(source, source.lines, r"\b(TO[D]O|FIX[M]E|XX[X])\b"):
        yield Violation(number, "word", f"{match.group()} marks unfinished work")
    for number, match in matches(source, source.lines, r"(?i)\b(?:issue|bug|ticket)s?\s*(?:#|no\.)\s*\d+"):
        yield Violation(number, "word", f"\"{match.group()}\" can not be looked up; say what it was about")
    words = forbidden_words()
    if words:
        pattern = r"(?i)\b(" + "|".join(re.escape(word) for word in words) + r")\b"
        for number, match in matches(source, source.lines, pattern):
            yield Violation(number, "word", f"\"{match.group()}\" must not appear")


# ---- layout ----

@rule
def whitespace(source):
    """No white space at a line's end, no tabs in programs, one line end at the file's end."""
    for number, line in enumerate(source.lines, start=1):
        if line != line.rstrip():
            yield Violation(number, "whitespace", "white space at the end of the line")
        if "\t" in line and source.is_program():
            yield Violation(number, "whitespace", "a tab")
    if source.text and (not source.text.endswith("\n") or source.text.endswith("\n\n")):
        yield Violation(len(source.lines), "whitespace", "the file does not end with one line end")


@rule
def first_comment(source):
    """Every C file begins with a comment that says what it owns."""
    if source.is_c and not source.text.startswith("/*"):
        yield Violation(1, "comment", "the file does not begin with a comment")


def check_source(source):
    """Every violation of the file that no exception covers, as printable lines in the order of the file."""
    found = []
    for check in RULES:
        for violation in check(source):
            if not source.excepts_line(violation.word, violation.line):
                found.append((violation.line, check.__name__, violation))
    found.sort(key=lambda entry: entry[:2])
    return [f"{source.path}:{line}: {name}: {violation.text} [{violation.word}]" for line, name, violation in found]


def check_tree(root):
    return [line for source in read_sources(root) for line in check_source(source)]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="Check the rules of this repository.", allow_abbrev=False)
    parser.add_argument("--root", default=os.path.join(here, "..", ".."), help="the tree to check")
    parser.add_argument("--list", action="store_true", help="only list the rules")
    arguments = parser.parse_args()
    if arguments.list:
        for check in RULES:
            print(f"{check.__name__}: {check.__doc__}")
        return 0
    violations = check_tree(arguments.root)
    for line in violations:
        print(line)
    print(f"tidy: {len(violations)} violations of {len(RULES)} rules")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
