"""A copy of the tree in which mutants are built and tested. It never touches the tree itself.

DIR/tree is the copy, DIR/build the one build of it. Both stay for the next run: only what differs is copied and built
again. What a run that was killed left in the copy is put right by the next one, which compares every file.
"""

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

# A test is built by the target test_NAME, but for these.
TARGETS = {"scenarios": "run_stories", "model": "test_model", "sim": "sim", "sim_seeds": "sim"}
BUILD_SECONDS_MAX = 900
TEST_SECONDS_MAX = 120  # a mutant may hang; the slowest of the tests that are named needs a fraction


class Broken(Exception):
    """The workshop itself does not work: no mutant can be judged."""


def run(command, log, seconds, cwd=None):
    """@return the exit code, None after `seconds`. Its children end with it."""
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=cwd,
                                   start_new_session=True,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def tail(path, lines=12):
    text = Path(path).read_text(errors="replace").splitlines()
    wanted = [line for line in text if re.search(r"error|FAILED|warning:", line)] or text
    return "\n".join("    " + line for line in wanted[-lines:])


class Result:
    """How one test went: "passed", "failed", or "not run"; and which of its cases failed."""

    def __init__(self, state, case=""):
        self.state = state
        self.case = case


def failed_case(case):
    """What to call the failure: the first case of cmocka that failed, else the last thing that was said."""
    text = "".join(case.itertext())
    found = re.search(r"\[  FAILED  \] ([a-z][a-z0-9_]+)", text)
    if found:
        return found.group(1)
    failure = case.find("failure")
    message = "" if failure is None else failure.get("message", "")
    if "imeout" in message:
        return "hangs"
    running = re.findall(r"\[ RUN      \] ([a-z][a-z0-9_]+)", text)
    if running and "assert" in text.lower():
        return running[-1]
    return ""


class Workshop:
    def __init__(self, root, directory, jobs):
        self.root = root
        self.tree = directory / "tree"
        self.build = directory / "build"
        self.logs = directory / "logs"
        self.jobs = jobs
        for path in (self.tree, self.build, self.logs):
            path.mkdir(parents=True, exist_ok=True)
        self.lock = open(directory / "lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Broken("another run is at work in %s; name another directory with --dir" % directory) from None

    # ---- the copy

    def tracked(self):
        command = ["git", "-C", str(self.root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0:
            return [name for name in done.stdout.decode().split("\0") if name]
        paths = (path for path in self.root.rglob("*") if path.is_file())
        names = (str(path.relative_to(self.root)) for path in paths)
        return [name for name in names if not name.startswith(("build/", ".git/"))]

    def copy(self):
        """The copy is the tree as it is now; what did not change keeps its time, so that it is not built again."""
        wanted = {name for name in self.tracked() if (self.root / name).is_file()}
        for path in list(self.tree.rglob("*")):
            if (path.is_file() or path.is_symlink()) and str(path.relative_to(self.tree)) not in wanted:
                path.unlink()
        for name in wanted:
            source, target = self.root / name, self.tree / name
            if target.is_file() and target.read_bytes() == source.read_bytes():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)

    def configure(self):
        log = self.logs / "configure"
        command = ["cmake", "--preset", "dev", "-S", str(self.tree), "-B", str(self.build)]
        if run(command, log, BUILD_SECONDS_MAX, self.tree) != 0:
            raise Broken("the copy can not be configured; %s says:\n%s" % (log, tail(log)))

    # ---- building and testing

    def make(self, tests, log_name):
        """@return whether what these tests need was built; no tests: all the unit tests."""
        targets = [TARGETS.get(test, "test_" + test) for test in tests] or self.unit_tests()
        log = self.logs / (log_name + ".build")
        command = ["ninja", "-C", str(self.build), "-j%d" % self.jobs] + targets
        return run(command, log, BUILD_SECONDS_MAX) == 0, log

    def unit_tests(self):
        """The targets of tests that are one quick program each."""
        command = ["ninja", "-C", str(self.build), "-t", "targets", "all"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return sorted(set(re.findall(r"^(test_[a-z0-9_]+|run_stories): phony$", listed, re.MULTILINE)))

    def test(self, selection, log_name):
        """Run tests, chosen by arguments of ctest. @return {test: Result}."""
        junit = self.logs / (log_name + ".xml")
        junit.unlink(missing_ok=True)
        command = ["ctest", "--test-dir", str(self.build), "--output-junit", str(junit), "-j%d" % self.jobs,
                   "--timeout", str(TEST_SECONDS_MAX)] + selection
        run(command, self.logs / (log_name + ".test"), 3600)
        results = {}
        if junit.exists():
            for case in ElementTree.parse(junit).getroot().iter("testcase"):
                state = {"run": "passed", "fail": "failed"}.get(case.get("status"), "not run")
                results[case.get("name")] = Result(state, failed_case(case) if state == "failed" else "")
        return results

    def test_named(self, tests, log_name):
        return self.test(["-R", "^(%s)$" % "|".join(re.escape(test) for test in sorted(tests))], log_name)

    def put(self, texts):
        """Change files of the copy. @return how they were."""
        before = {name: (self.tree / name).read_text() for name in texts}
        for name, text in texts.items():
            (self.tree / name).write_text(text)
        return before
