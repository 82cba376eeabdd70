#!/usr/bin/env python3
"""Shows that each rule of tidy can fail: plants one violation at a time in a tree of its own.

A planted line is put together from halves where it would otherwise be a violation of this file itself.
"""

import os
import subprocess
import tempfile
import unittest

import tidy

CLEAN = {
    "protocol/frame.c": """\
/* A file as it should be: strcpy(a, b) is only talked about here, and here: */
#include "protocol/frame.h"
#include <stdint.h>

static int helper(void)
{
    return strcmp("sprintf(", "") + table.random(1) + my_rand();
}
""",
    "protocol/frame.h": "/* A header. */\nint proto_frame(void);\n",
    "raft_fsm/apply.c": """\
/* The state machine. */
#include "protocol/frame.h"
#include "raft_fsm/fsm.h"
#include <stdlib.h>

static const int limits[] = {1, 2};
static const char *const names[] = {"time(", "printf("};
static int apply_one(struct fsm *fsm);
struct cluster_time fsm_time(const struct fsm *fsm);

static int apply_one(struct fsm *fsm)
{
    static const int steps = 3;
    return fsm->time(steps) + raft_fsm_limit(limits);
}
""",
    "node/replica/replica.c": "/* The replica. */\n#include \"node/time.h\"\n#include <raft.h>\n",
    "client/core.c": "/* The client. */\n#include <lockstep.h>\n#include \"client/core.h\"\n",
    "docs/protocol.md": "# Protocol\n\nConnect to tcp://127.0.0.1:7000 or https://node1.example.com/.\n",
    "tests/run": "#!/bin/bash\n# No sleep here.\necho /workspace ~/home \"$x/root\"\n",
}


def c_function(lines, inside=""):
    """A C function of that many lines, signature and braces included."""
    body = [inside] * (1 if inside else 0)
    body += ["    x++;"] * (lines - 3 - len(body))
    return "\n".join(["static void f(void)", "{"] + body + ["}", ""])


# rule: [(path, text)...]; each text alone must be reported by that rule, on that path, and by no other rule.
PLANTED = {
    "long_function": [
        ("node/a.c", "/* A. */\n" + c_function(71)),
        ("node/a.c", "/* A. */\n\nstruct a *f(int a,\n            int b) {\n" + "    x++;\n" * 68 + "}\n"),
        ("node/a.c", "/* A. */\n" + c_function(71, "    /* tidy: long because */")),
    ],
    "long_file": [
        ("node/a.c", "/* A. */\n" + "int a;\n" * 600),
        ("tests/a.py", "a = 1\n" * 601),
        ("tests/a", "#!/bin/sh\n" + "a=1\n" * 600),
    ],
    "banned_function": [("node/a.c", f"/* A. */\nint a = {name}(b);\n") for name in tidy.BANNED] + [
        ("node/a.c", "/* A. */\n/* tidy: strcpy because */\nint a = strcpy(b);\n"),
        ("node/a.c", "/* A. */\n/* tidy: strcat because that is another one */\nint a = strcpy(b);\n"),
    ],
    "sleeping_script": [
        ("tests/a.sh", "sleep 1\n"),
        ("tests/a", "#!/bin/bash\nwhile true; do sleep 0.1; done\n"),
        ("tests/a.py", "import time\ntime.sl" + "eep(1)\n"),
    ],
    "forbidden_include": [
        (path, f"/* A. */\n#include {header}\n") for path, header in [
            ("protocol/a.c", '"raft_fsm/fsm.h"'),
            ("raft_fsm/a.h", '"node/node.h"'),
            ("raft_fsm/a.c", '"client/core.h"'),
            ("node/replica/a.c", '"node/node.h"'),
            ("node/a.c", '"client/core.h"'),
            ("node/a.c", "<raft.h>"),
            ("node/a.c", '<raft/fixture.h>'),
            ("protocol/a.c", '"raft.h"'),
            ("client/cli/a.c", '"node/node.h"'),
            ("client/a.c", '"raft_fsm/fsm.h"'),
            ("tests/a.c", '"../node/node.h"'),
        ]
    ],
    "impure_state_machine": [
        ("raft_fsm/a.c", f"/* A. */\n{line}\n") for line in [
            "#include <time.h>",
            "#include <stdio.h>",
            "#include <uv.h>",
            "int a = clock_gettime(b);",
            "int a = time(NULL);",
            "int a = getrandom(b);",
            "int a = arc4random_uniform(b);",
            "int a = printf(b);",
            "int a = snprintf(b);",
            "int a = uv_now(b);",
            "int a = raft_step(b);",
            "uv_loop_t *a;",
            "struct raft *a;",
            "FILE *a;",
            "static int counter;",
            "static struct a *first = NULL;",
            "    static uint64_t calls = 0;",
            "_Thread_local int a;",
        ]
    ],
    "machine_path": [
        ("docs/a.md", "see /wo" + "rk/main\n"),
        ("tests/a.sh", "cd /ro" + "ot\n"),
        ("node/a.c", '/* A. */\nconst char *a = "/ho' + 'me/me";\n'),
        ("deploy/a.conf", "data=/Us" + "ers/me\n"),
    ],
    "host_name": [
        ("deploy/a.sh", "get http:/" + "/mirror.lan/debian\n"),
        ("docs/a.md", "from deb.debian.o" + "rg as usual\n"),
        ("node/a.c", '/* A. */\nconst char *a = "https:/' + '/registry.invented/x";\n'),
    ],
    "forbidden_word": [
        ("node/a.c", "/* A. TO" + "DO: more */\n"),
        ("docs/a.md", "see iss" + "ue #12\n"),
    ],
    "whitespace": [
        ("docs/a.md", "a \n"),
        ("node/a.c", "/* A. */\nint\ta;\n"),
        ("docs/a.md", "a"),
        ("docs/a.md", "a\n\n"),
    ],
    "first_comment": [
        ("node/a.c", "#include <stdint.h>\n"),
        ("node/a.h", "\n/* A. */\n"),
        ("node/a.h", ""),
    ],
}

# The same things with an exception that is argued for: nothing is reported.
EXCEPTED = [
    ("node/a.c", "/* A. */\n" + c_function(71, "    /* tidy: long because it is one table */")),
    ("node/a.c", "/* A. */\n\n/* Does it.\n * tidy: long because\n * it is one table */\n" + c_function(90)),
    ("node/a.c", "/* A.\n * tidy: long because it is one table */\n" + "int a;\n" * 700),
    ("tests/a", "#!/bin/sh\n# tidy: long because it is one table\n" + "a=1\n" * 700),
    ("node/a.c", "/* A. */\nint a = strcpy(b); /* tidy: strcpy because both are constant */\n"),
    ("node/a.c", "/* A. */\n/* Why.\n * tidy: strcpy because both are constant */\nint a = strcpy(b);\n"),
    ("tests/a.sh", "# tidy: sleep because this measures idle time\nsleep 10\n"),
    ("docs/a.md", "<!-- tidy: host because it is the paper's home -->\nhttps:/" + "/papers.invented/raft\n"),
    ("tests/a.c", "/* A. */\nint a = sscanf(b);\n"),
]


def check(files):
    """The violations of a tree that holds these files, as (path, rule)."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        lines = tidy.check_tree(root)
    return [(line.split(":")[0], line.split(":")[2].strip()) for line in lines]


class TidyTest(unittest.TestCase):
    def test_a_clean_tree_has_no_violations(self):
        self.assertEqual(check(CLEAN), [])

    def test_every_rule_can_fail(self):
        self.assertEqual(set(PLANTED), {function.__name__ for function in tidy.RULES})
        for name, cases in PLANTED.items():
            for path, text in cases:
                with self.subTest(rule=name, path=path, text=text[:80]):
                    self.assertEqual(check({**CLEAN, path: text}), [(path, name)])

    def test_limits_are_inclusive(self):
        self.assertEqual(check({"node/a.c": "/* A. */\n" + c_function(70)}), [])
        self.assertEqual(check({"node/a.c": "/* A. */\n" + "int a;\n" * 599}), [])

    def test_an_argued_exception_is_accepted(self):
        for path, text in EXCEPTED:
            with self.subTest(path=path, text=text[:80]):
                self.assertEqual(check({path: text}), [])

    def test_words_can_be_given_from_outside(self):
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as words:
            words.write("codename\n\nother word\n")
            words.flush()
            os.environ["LOCKSTEP_TIDY_WORDS"] = words.name
            try:
                self.assertEqual(check({"docs/a.md": "our Codename\n"}), [("docs/a.md", "forbidden_word")])
                self.assertEqual(check({"docs/a.md": "codenames\n"}), [])
            finally:
                del os.environ["LOCKSTEP_TIDY_WORDS"]

    def test_ignored_files_are_left_out_and_new_ones_are_not(self):
        with tempfile.TemporaryDirectory() as root:
            subprocess.run(["git", "init", "-q", root], check=True)
            for path in (".gitignore", "build/a.c", "new.c"):
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as file:
                    file.write("/build/\n")
            self.assertEqual([line.split(":")[0] for line in tidy.check_tree(root)], ["new.c"])

    def test_the_exit_code_says_whether_something_was_found(self):
        program = os.path.join(os.path.dirname(os.path.abspath(tidy.__file__)), "tidy.py")
        with tempfile.TemporaryDirectory() as root:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
            self.assertEqual(subprocess.run([program, "--root", root], **quiet).returncode, 0)
            with open(os.path.join(root, "a.c"), "w", encoding="utf-8") as file:
                file.write("int a;\n")
            self.assertEqual(subprocess.run([program, "--root", root], **quiet).returncode, 1)
            self.assertEqual(subprocess.run([program, "--no-such-option"], **quiet).returncode, 2)


if __name__ == "__main__":
    unittest.main()
