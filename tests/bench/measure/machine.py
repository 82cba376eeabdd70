"""Processes of ours and what the machine says about them: started, ended by pid, their time on the processors and memory."""

import contextlib
import ctypes
import fcntl
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_S = 20
SPAWNER = ThreadPoolExecutor(max_workers=1)
STARTED = [] # every process that we started and that may still run


class Failed(Exception):
    """A measurement that can not be made; the text is for the user."""


def log(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


def pause(seconds):
    """Between two looks at something that no event tells of, or as long as a method says that something lasts."""
    threading.Event().wait(seconds)


# ---- processes ----

def _die_with_parent():
    """Between fork and exec: however the runner ends, nothing that it started goes on."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(command, **options):
    # A session of its own: an interrupt at the terminal is the runner's, which ends its processes in order.
    # By one thread that stays as long as the runner: for the kernel, the parent that dies is the thread which started it.
    process = SPAWNER.submit(subprocess.Popen, command, preexec_fn=_die_with_parent, start_new_session=True, **options).result()
    STARTED.append(process)
    return process


def end(process, first=signal.SIGTERM, patience_s=STOP_S):
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process in STARTED:
        STARTED.remove(process)


def end_all():
    for process in list(STARTED):
        end(process, signal.SIGKILL)


@contextlib.contextmanager
def alone(lock_file):
    """Hold the machine's lock, which other benchmarks on it take as well; an empty name takes none."""
    if not lock_file:
        yield
        return
    with open(lock_file, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---- what is known of them ----

def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def cpu_of(pid):
    """User and system seconds of a process and of its children, ended or not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_S + sum(cpu_of(child) for child in children_of(pid))


def memory_of(pid):
    """VmRSS, RssAnon, RssFile in bytes."""
    found = {}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(("VmRSS", "RssAnon", "RssFile")):
                name, value = line.split(":")
                found[name] = int(value.split()[0]) * 1024
    return found


def busy_s():
    """Seconds that all processors together were not idle."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS_PER_S


def describe():
    model, memory = "", 0
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) // 1024
    return {"kernel": platform.release(), "cpus": os.cpu_count(), "model": model, "memory_mib": memory,
            "date": time.strftime("%F %T")}
