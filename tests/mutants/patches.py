"""The mutants: reading catalogue/*.patch, and putting one into a tree.

A patch is a header of "Name: text" lines, an empty line, and a unified diff:

    Rule:       what is broken, said as the rule that holds
    Protects:   the promise (README) or the invariant (head of a file) that stands on it
    Noticed by: the ctest name of the test that is known to notice it, and in brackets which of its cases
    Takes:      how many seconds build and test took when that was seen last

Line numbers do not count. A hunk is applied where its lines stand, and they must stand exactly once in the file: a patch
whose place was changed, or became ambiguous, is stale and says so.
"""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADER = ("Rule", "Protects", "Noticed by", "Takes")


class Stale(Exception):
    """The patch does not fit the tree, or is not written as it must be."""


def hunks_of(diff, name):
    """A list of (path, lines before, lines after)."""
    hunks = []
    path = None
    for line in diff.splitlines(keepends=True):
        if line.startswith("--- "):
            continue
        if line.startswith("+++ b/"):
            path = line[6:].strip()
        elif line.startswith("@@"):
            hunks.append([path, "", ""])
        elif hunks and line[0] in " -+\n":
            line = line if line[0] != "\n" else " \n"  # an empty line that stays, without its blank
            hunks[-1][1] += line[1:] if line[0] in " -" else ""
            hunks[-1][2] += line[1:] if line[0] in " +" else ""
        else:
            raise Stale("%s: this line belongs to no hunk: %s" % (name, line.rstrip()))
    if not hunks or any(before == after for _, before, after in hunks):
        raise Stale("%s: it changes nothing" % name)
    return hunks


class Mutant:
    def __init__(self, path):
        self.path = path
        self.name = re.sub(r"^[0-9]+-", "", path.stem)
        header, _, diff = path.read_text().partition("\n\n")
        self.fields = dict(line.split(":", 1) for line in header.splitlines() if ":" in line)
        self.fields = {key: value.strip() for key, value in self.fields.items()}
        for key in HEADER:
            if not self.fields.get(key):
                raise Stale("%s: its header says nothing under \"%s\"" % (path.name, key))
        self.rule = self.fields["Rule"]
        self.test, _, self.case = self.fields["Noticed by"].partition(" ")
        self.case = self.case.strip("()")
        self.diff = diff
        self.hunks = hunks_of(diff, path.name)

    def mutated(self, tree):
        """The changed files: {path: text}."""
        texts = {}
        for path, before, after in self.hunks:
            try:
                text = texts.get(path) or (tree / path).read_text()
            except OSError as error:
                raise Stale("%s: %s" % (self.path.name, error)) from error
            found = text.count(before)
            if found != 1:
                raise Stale("%s: its lines stand %d times in %s, they must stand there once; the first: %s" %
                            (self.path.name, found, path, before.splitlines()[0].strip()))
            texts[path] = text.replace(before, after)
        return texts

    def record(self, test, case, seconds):
        """Write down who noticed it, and in what time."""
        self.test, self.case = test, case
        noticed = "%s (%s)" % (test, case) if case else test
        lines = ("Rule:       " + self.rule, "Protects:   " + self.fields["Protects"], "Noticed by: " + noticed,
                 "Takes:      %.0f s" % max(seconds, 1))
        self.path.write_text("\n".join(lines) + "\n\n" + self.diff)


def load():
    """All mutants, in the order of their numbers."""
    mutants = [Mutant(path) for path in sorted((HERE / "catalogue").glob("*.patch"))]
    names = [mutant.name for mutant in mutants]
    for name in names:
        if names.count(name) > 1:
            raise Stale("two mutants are called %s" % name)
    return mutants


def check(mutants, tree):
    """What is wrong, a line each."""
    wrong = []
    for mutant in mutants:
        try:
            mutant.mutated(tree)
        except Stale as error:
            wrong.append(str(error))
    return wrong
