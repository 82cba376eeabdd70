"""A child process of the run: started on its host, its output in a log, watched until it ends."""

import os
import re
import resource
import signal
import subprocess

from nemesis.process_death import die_with_parent

TAIL_LINES = 40
REPORT = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|runtime error:|assert(ion)? failed|Assertion", re.IGNORECASE)


def describe(code):
    """An exit code as people say it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def sanitizer_library(program):
    """The address sanitizer's runtime, which must be preloaded before any other library; None for a plain program."""
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    found = re.search(r"libasan\S* => (\S+)", needed)
    return found.group(1) if found else None


def before_exec():
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Process:
    """`log` is appended to by every process of the same name; `log_from` is where the present one begins."""

    def __init__(self, loop, network, host, log):
        self.loop = loop
        self.network = network
        self.host = host
        self.log = log
        self.log_from = 0
        self.popen = None
        self.paused = False
        open(log, "ab").close()

    def spawn(self, arguments, environment, preload, ended):
        """@param ended called with the exit code when it has ended."""
        every = dict(os.environ, **environment)
        libraries = [path for path in preload if path]
        if libraries:
            every["LD_PRELOAD"] = ":".join(libraries)
        self.log_from = os.path.getsize(self.log)
        self.paused = False
        with open(self.log, "ab") as output:
            self.popen = subprocess.Popen(
                self.network.inside(self.host) + arguments, env=every, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, cwd=os.path.dirname(self.log), start_new_session=True,
                preexec_fn=before_exec)
        self.loop.watch(self.popen, lambda code: self._ended(code, ended))

    def _ended(self, code, ended):
        self.popen = None
        self.paused = False
        ended(code)

    def runs(self):
        return self.popen is not None

    def signal(self, number):
        if self.popen is not None:
            self.popen.send_signal(number)

    def pause(self):
        self.signal(signal.SIGSTOP)
        self.paused = self.runs()

    def resume(self):
        self.signal(signal.SIGCONT)
        self.paused = False

    def said(self):
        """What the present process has written to its log, or the last one."""
        with open(self.log, "rb") as file:
            file.seek(self.log_from)
            return file.read().decode("utf-8", "replace")

    def tail(self):
        lines = self.said().splitlines()
        begin = next((index for index, line in enumerate(lines) if REPORT.search(line)), max(0, len(lines) - TAIL_LINES))
        return "\n".join(lines[begin:begin + TAIL_LINES])

    def reported(self):
        """The first line of a sanitizer's or an assertion's report in the whole log, or None."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return next((line.strip() for line in file if REPORT.search(line)), None)
