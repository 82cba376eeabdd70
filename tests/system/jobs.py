"""`lockstep lock` as a job of a shell: who has the terminal, and who is stopped and goes on together.

usage: jobs.py LOCKSTEP DIRECTORY

This process is the shell: it leads a session with a terminal of its own, and starts each job as a process group. To be
started by setsid(1), with the endpoints in the environment. Writes to DIRECTORY.
"""
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import termios
import time

WAIT_S = 30
LOCKSTEP = sys.argv[1]
DIRECTORY = pathlib.Path(sys.argv[2])
keys, terminal = os.openpty()  # what the user types goes into the first, and the jobs have the second
WENT_ON = DIRECTORY / "went-on"
GO = DIRECTORY / "go"
PID = DIRECTORY / "command-pid"

# Commands. Each says its pid. The first runs until it is told to end; it starts no others, for a shell that is stopped while it does
# waits for the child, which is stopped too. So does the second, which needs no time to notice that it goes on. The third reads a
# number from the terminal when it may.
SLEEPER = f"""
import os, pathlib, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGCONT, lambda *_: pathlib.Path("{WENT_ON}").touch())
pathlib.Path("{PID}.new").write_text(str(os.getpid()))
os.rename("{PID}.new", "{PID}")
while True:
    signal.pause()
"""
ENDLESS = f"exec {sys.executable} -c '{SLEEPER}'"
HASTY = f"trap ': >{WENT_ON}' CONT TERM; echo $$ >{PID}.new; mv {PID}.new {PID}; while :; do :; done"
ASKING = f"echo $$ >{PID}.new; mv {PID}.new {PID}; until [ -e {GO} ]; do sleep 0.02; done; read x </dev/tty; exit $x"


def fail(what):
    sys.exit(f"FAILED: {what}")


def wait_until(what, condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            fail(f"{what} did not happen in time")
        time.sleep(0.02)  # tidy: sleep because it only spaces the looks; the condition is beside it


def status(key):
    answer = subprocess.run([LOCKSTEP, "-o", "json", "status", key], stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout)


def state(pid):
    """R, S, T (stopped) …; "" if there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


class Job:
    """A command under a lock, as a process group that has the terminal if it is to run in the foreground."""

    def __init__(self, key, script, foreground=True, stdin=terminal, stdout=terminal, ttl="10s", new_session=False):
        def group():
            if new_session:
                os.setsid()
                if stdin != subprocess.DEVNULL:
                    fcntl.ioctl(stdin, termios.TIOCSCTTY, 0)
                return
            os.setpgid(0, 0)
            if foreground:
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                os.tcsetpgrp(terminal, os.getpid())
                signal.signal(signal.SIGTTOU, signal.SIG_DFL)

        for path in (WENT_ON, GO, PID):
            path.unlink(missing_ok=True)
        words = [LOCKSTEP, "lock", key, "--ttl", ttl, "--", "sh", "-c", script]
        self.process = subprocess.Popen(words, stdin=stdin, stdout=stdout, preexec_fn=group)
        self.pid = self.process.pid

    def command(self):
        wait_until("the command's start", PID.exists)
        return int(PID.read_text(encoding="ascii"))

    def expect_stopped(self):
        status = 0

        def stopped():
            nonlocal status
            pid, status = os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)
            return pid != 0

        wait_until("the job's stop", stopped)
        if not os.WIFSTOPPED(status):
            fail(f"the job ended with status {status:#x} instead of being stopped")
        os.tcsetpgrp(terminal, os.getpgrp())  # as every shell does

    def go_on(self, foreground):
        if foreground:
            os.tcsetpgrp(terminal, self.pid)
        os.killpg(self.pid, signal.SIGCONT)

    def expect_code(self, code):
        try:
            ended = self.process.wait(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            fail(f"the job does not end; lockstep is in state {state(self.pid)}")
        if ended != code:
            fail(f"exit code {ended} instead of {code}")


def expect_terminal(group, what):
    if os.tcgetpgrp(terminal) != group:
        fail(f"the terminal is that of {os.tcgetpgrp(terminal)} instead of {group}: {what}")


def suspended_and_in_the_background():
    job = Job("jobs/bg", ENDLESS)
    command = job.command()
    os.write(keys, b"\x1a")
    job.expect_stopped()
    job.go_on(foreground=False)
    wait_until("the command's going on", WENT_ON.exists)
    expect_terminal(os.getpgrp(), "a job that goes on in the background takes it")
    os.kill(job.pid, signal.SIGTERM)
    job.expect_code(143)
    expect_terminal(os.getpgrp(), "a job that ends in the background takes it")
    if state(command):
        fail("the command still runs")


def fetched_from_the_background():
    job = Job("jobs/fg", ASKING, foreground=False)
    job.command()
    GO.touch()
    job.expect_stopped()
    job.go_on(foreground=True)
    os.write(keys, b"7\n")
    job.expect_code(7)


def beside_a_pager():
    """In `lockstep lock … | less` it is less that reads the keys, until the command asks for them."""
    job = Job("jobs/pipe", ASKING, stdout=subprocess.DEVNULL)
    job.command()
    expect_terminal(job.pid, "a command that does not write to it takes it")
    GO.touch()
    os.write(keys, b"8\n")
    job.expect_code(8)


def suspended_beside_other_input():
    job = Job("jobs/input", ENDLESS, stdin=subprocess.DEVNULL)
    command = job.command()
    os.write(keys, b"\x1a")
    job.expect_stopped()
    if state(command) != "T":
        fail("the job is stopped and the command runs on")
    job.go_on(foreground=True)
    wait_until("the command's going on", WENT_ON.exists)
    os.write(keys, b"\x03")
    job.expect_code(130)


def suspended_for_longer_than_the_lock():
    job = Job("jobs/long", HASTY, ttl="1s")
    job.command()
    os.write(keys, b"\x1a")
    job.expect_stopped()
    wait_until("the lock's end", lambda: status("jobs/long")["holders_count"] == 0)
    job.go_on(foreground=True)
    job.expect_code(121)
    if WENT_ON.exists():
        fail("the command went on without the lock")


def suspended_without_a_shell():
    """As by `ssh -t`: nobody is there who would continue it, so it is not stopped."""
    its_keys, its_terminal = os.openpty()
    job = Job("jobs/alone", ENDLESS, stdin=its_terminal, stdout=its_terminal, new_session=True)
    job.command()
    os.write(its_keys, b"\x1a")
    wait_until("the command's going on", WENT_ON.exists)
    os.write(its_keys, b"\x03")
    job.expect_code(130)
    os.close(its_keys)
    os.close(its_terminal)


def stopped_by_somebody_else(**how):
    """Whoever stops the command, and not lockstep, continues it alone: the lock has to be there."""
    job = Job("jobs/stopped", ENDLESS, foreground=False, ttl="4s", **how)
    command = job.command()
    os.kill(command, signal.SIGSTOP)
    wait_until("the command's stop", lambda: state(command) == "T")
    since = status("jobs/stopped")  # cluster time stands still unless this job renews its lock, or it expires

    def outlived():
        now = status("jobs/stopped")
        if now["fence"] != since["fence"]:
            fail("the lock of a stopped command was lost")
        return now["time_ms"] > since["time_ms"] + 5000

    wait_until("that the lock outlives its ttl", outlived)
    os.kill(command, signal.SIGCONT)
    wait_until("the command's going on", WENT_ON.exists)
    os.kill(job.pid, signal.SIGTERM)
    job.expect_code(143)


def main():
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    suspended_and_in_the_background()
    fetched_from_the_background()
    beside_a_pager()
    suspended_beside_other_input()
    suspended_for_longer_than_the_lock()
    suspended_without_a_shell()
    stopped_by_somebody_else()
    stopped_by_somebody_else(new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


main()
