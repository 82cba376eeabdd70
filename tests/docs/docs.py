#!/usr/bin/env python3
"""Whether the pages say what the code does.

usage: docs.py --bin DIR [--cc COMPILER] [--write] [CHECK...]

The checks, all of them if none is named:

  links      relative links lead to files, and their anchors to headings
  tables     what stands between "generated" and "end" in docs/operations.md is what the code has
  events     docs/operations.md lists the events of the log, all of them and no others
  messages   the messages that docs/operations.md explains exist in the code
  options    each --option that a page shows exists in the --help of the program that the line names
  examples   C examples of the README and of docs/client.md compile
  files      paths, tests and functions that docs/testing.md and docs/architecture.md name exist

--write puts the generated tables into docs/operations.md. Exit code 1 if something is wrong, one line for each.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"


class Checker:
    """What the checks share: the programs, and what was found."""

    def __init__(self, bin_dir, compiler):
        self.bin = pathlib.Path(bin_dir)
        self.compiler = compiler
        self.problems = []

    def problem(self, page, line, text):
        """Note one violation."""
        self.problems.append(f"{page.relative_to(ROOT)}:{line}: {text}")

    def run(self, *arguments):
        """What a program prints; it must succeed."""
        command = [str(self.bin / arguments[0]), *arguments[1:]]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if result.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {result.returncode}: {result.stderr}")
        return result.stdout


def pages():
    """The pages of the repository that people read."""
    yield from sorted(ROOT.glob("*.md"))
    yield from sorted((ROOT / "docs").rglob("*.md"))
    yield from sorted((ROOT / "tests").rglob("*.md"))


def numbered(page):
    """(number, line, whether it stands in a code block) for each line of a page."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.startswith("```"):
            fenced = not fenced
            yield number, line, True
        else:
            yield number, line, fenced or line.startswith("    ")


# ---- links ----

def anchors(page):
    """The anchors that the headings of a page give, as GitHub makes them."""
    found = set()
    for _, line, code in numbered(page):
        heading = re.match(r"#+ (.*)", line)
        if heading and not code:
            text = re.sub(r"[^\w\- ]", "", heading.group(1).lower())
            found.add(text.strip().replace(" ", "-"))
    return found


def check_links(checker):
    """Relative links lead somewhere."""
    for page in pages():
        for number, line, code in numbered(page):
            if code:
                continue
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                linked = (page.parent / path).resolve() if path else page
                if not linked.exists():
                    checker.problem(page, number, f"{target} leads to nothing")
                elif anchor and anchor not in anchors(linked):
                    checker.problem(page, number, f"{target}: there is no such heading")


# ---- generated tables ----

def exits_of_lockstep():
    """The table of client/cli/exits.h, in the order of the numbers."""
    text = (ROOT / "client" / "cli" / "exits.h").read_text()
    rows = re.findall(r'X\((\w+),\s*(\d+),\s*"([^"]*)"\)', text)
    lines = ["| code | name | what happened |", "| --- | --- | --- |"]
    lines += [f"| {code} | {name} | {what} |" for name, code, what in sorted(rows, key=lambda row: int(row[1]))]
    return "\n".join(lines) + "\n"


def generated(checker):
    """Name and contents of each table."""
    return {
        "settings": checker.run("lockstepd", "--print", "table"),
        "exits of lockstepd": checker.run("lockstepd", "--print", "exits"),
        "exits of lockstep": exits_of_lockstep(),
    }


def with_tables(text, tables):
    """The page with every table filled in. @raise KeyError for a table that nothing makes."""
    def fill(match):
        return f"<!-- generated: {match.group(1)} -->\n{tables[match.group(1)]}<!-- end -->"
    return re.sub(r"<!-- generated: ([^>]*?) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def check_tables(checker):
    """The generated tables are those of the code."""
    text = OPERATIONS.read_text()
    tables = generated(checker)
    for name, table in tables.items():
        if f"<!-- generated: {name} -->\n{table}<!-- end -->" not in text:
            checker.problem(OPERATIONS, 1, f'the table "{name}" is not that of the code: tests/docs/docs.py --write')


# ---- the log's events, and messages ----

def sources(*patterns):
    """The text of the files that the patterns name, but for what was built."""
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            if path.relative_to(ROOT).parts[0] != "build":
                yield path.read_text()


def events_of_code():
    """The names of all events that a node logs."""
    found = set()
    for text in sources("node/*.c"):
        for pattern in (r'LOGGER_EVENT\(\s*[^,]+,[^,]+,\s*"(\w+)"', r'core_log\(\s*\w+,\s*\w+,\s*"(\w+)"',
                        r'\[CORE_\w+\] = \{"(\w+)"', r'log_message\(\w+, "(\w+)"', r'logger_last\(\w+, "(\w+)"'):
            found.update(re.findall(pattern, text))
    return found


def check_events(checker):
    """The table of events is complete, and has nothing else."""
    section = OPERATIONS.read_text().split("| event | meaning |")[1].split("\n\n")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))
    for name in sorted(events_of_code() - documented):
        checker.problem(OPERATIONS, 1, f'the event "{name}" is not explained')
    for name in sorted(documented - events_of_code()):
        checker.problem(OPERATIONS, 1, f'there is no event "{name}"')


def messages_of_code():
    """Every string of the node, adjacent literals joined, "…" for what is filled in."""
    joint = r"\s*(?:PRI[a-zX0-9]+\s*|[A-Z_]+\s*)?"
    found = []
    for text in sources("node/*.c", "node/replica/*.c"):
        text = re.sub(r"PRIu64|PRIu32", '"llu"', text).replace("PRIx64", '"llx"').replace("PRId64", '"lld"')
        for run in re.findall(r'"(?:[^"\\\n]|\\.)*"(?:' + joint + r'"(?:[^"\\\n]|\\.)*")*', text):
            whole = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', run))
            found.append(re.sub(r"%[-+ #0]*[0-9.*]*(?:hh|h|ll|l|z|j)?[diuoxXcsp](?: s\b)?", "…", whole))
    return found


def check_messages(checker):
    """Each explained message is one that the code has."""
    known = messages_of_code()
    for number, line, code in numbered(OPERATIONS):
        row = None if code else re.match(r"\| `([^`]*)` \|", line)
        if row and ("…" in row.group(1) or " " in row.group(1)):
            if not any(row.group(1) in message for message in known):
                checker.problem(OPERATIONS, number, f"no message of the code reads: {row.group(1)}")


# ---- options ----

def helps(checker):
    """Program or subcommand -> its --help, as far as they are built."""
    found = {"lockstepd": checker.run("lockstepd", "--help")}
    for script in ("tests/run", "tests/bench/run", "tests/fuzz/run", "tests/mutants/run", "tests/torture/run",
                   "deploy/local-cluster", "deploy/install-deps", "deploy/quickstart", "deploy/try-in-debian"):
        found[script] = subprocess.run([str(ROOT / script), "--help"], capture_output=True, text=True, check=True).stdout
    if (checker.bin / "lockstep").exists():
        found["lockstep"] = checker.run("lockstep", "--help")
        for name in re.findall(r"^  ([a-z-]+) +\S.*", found["lockstep"].split("Subcommands")[1], flags=re.MULTILINE):
            found[f"lockstep {name}"] = checker.run("lockstep", name, "--help")
    return found


def program_of(words, known):
    """The longest name of `known` with which these words begin, or None."""
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in known:
            return name
    return None


def check_options(checker):
    """Command lines use options that exist."""
    known = helps(checker)
    for page in pages():
        for number, line, code in numbered(page):
            lines = [line] if code else re.findall(r"`([^`]*)`", line)
            for text in lines:
                command = re.split(r"[|;)]", re.sub(r"^.*\$\(", "", text).split(" -- ")[0])[0]
                program = program_of(command.split(), known)
                if program is None:
                    continue
                for option in re.findall(r"(?<=\s)(--[a-z][a-z-]*)", command):
                    if option != "--help" and not re.search(re.escape(option) + r"(?![a-z-])", known[program]):
                        checker.problem(page, number, f"{program} has no {option}")


# ---- examples ----

def compile_example(checker, page, number, code):
    """One C program against the public header."""
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory) / "example.c"
        source.write_text(code)
        command = [checker.compiler, "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                   f"-I{ROOT}/client/include", str(source)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            checker.problem(page, number, f"the example does not compile: {result.stderr.strip()}")


def check_examples(checker):
    """Whole programs compile; fragments (without main) are left alone."""
    for page in pages():
        text = page.read_text()
        for match in re.finditer(r"^```c\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            if "int main(" in match.group(1):
                compile_example(checker, page, text[:match.start()].count("\n") + 1, match.group(1))


# ---- files and tests that pages name ----

def check_files(checker):
    """Files, tests and functions that the two pages name in backquotes are there."""
    everything = "".join(sources("**/*.c", "tests/**/CMakeLists.txt", "tests/**/*.cmake"))
    for page in (ROOT / "docs" / "testing.md", ROOT / "docs" / "architecture.md"):
        for number, line, code in numbered(page):
            for name in [] if code else re.findall(r"`([^`]+)`", line):
                if re.fullmatch(r"[\w./-]+/[\w.-]*|[\w/-]+\.(?:c|h|md|txt|py)", name) and "/" in name:
                    if not list(ROOT.glob(name.rstrip("/"))):
                        checker.problem(page, number, f"there is no {name}")
                elif page.name == "testing.md" and re.fullmatch(r"[a-z]+(?:_[a-z]+)+", name):
                    file = f"tests/unit/{name.replace('_', '/test_', 1)}.c" # node_clock is made of node/test_clock.c
                    if not re.search(rf"\b{name}\b", everything) and not (ROOT / file).exists():
                        checker.problem(page, number, f"there is no test or function {name}")


CHECKS = {
    "links": check_links,
    "tables": check_tables,
    "events": check_events,
    "messages": check_messages,
    "options": check_options,
    "examples": check_examples,
    "files": check_files,
}


def main():
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="where lockstepd and lockstep are")
    parser.add_argument("--cc", default="cc", help="the C compiler")
    parser.add_argument("--write", action="store_true", help="put the generated tables into docs/operations.md")
    parser.add_argument("checks", nargs="*", metavar="CHECK")
    arguments = parser.parse_args()
    checker = Checker(arguments.bin, arguments.cc)
    if arguments.write:
        OPERATIONS.write_text(with_tables(OPERATIONS.read_text(), generated(checker)))
    for name in arguments.checks or CHECKS:
        if name not in CHECKS:
            parser.error(f'there is no check "{name}"')
        CHECKS[name](checker)
    for problem in checker.problems:
        print(problem)
    return 1 if checker.problems else 0


if __name__ == "__main__":
    sys.exit(main())
