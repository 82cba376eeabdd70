"""The nodes: started, ended, restarted as deploy/lockstepd.service would, and watched for ends that nothing explains."""

import os
import re
import signal

from nemesis.clock import Clock
from nemesis.disk import Disk
from nemesis.process import Process, describe, sanitizer_library

# node/exits.h
OK, DATA_DIR, REPLICA = 0, 4, 8
RESTART_HELPS = {1, 3, 5, 8}
# With a disk that fails: a write failed while it ran, or already when it looked at its directory.
DISK_FAULT_EXITS = {DATA_DIR, REPLICA}
# Or while it opened its files: then the same code as for data that is wrong, which no fault of ours explains.

RESTART_S = 0.3
# Its own limits for leaving are 2 + 1 + 10 seconds.
TERM_S = 30

ROLE = re.compile(r"event=role_changed role=(\w+) term=(\d+).* serving=(\w+)")


def settings(rng, sanitized):
    """What all nodes of a run have in common. Snapshots are so frequent that followers fall behind them."""
    return {
        "cluster": "torture",
        "election-timeout": "800ms" if sanitized else "500ms",
        "heartbeat": "80ms",
        "snapshot-after": rng.choice(("64KiB", "256KiB", "1MiB")),
        "log-trailing": rng.choice(("0B", "32KiB", "256KiB")),
        "log-segment": "1MiB",
        "client-heartbeat": "300ms",
        "client-tcp-timeout": "1500ms",
        "peer-connect-timeout": "500ms",
        "peer-tcp-timeout": "1s",
        "shutdown-timeout": "2s",
        "check-invariants": "always",
        "log-format": "logfmt",
    }


class Node:
    """Down while `held` has the name of a fault; otherwise it is started whenever it does not run."""

    def __init__(self, world, number):
        self.world = world
        self.number = number
        self.name = f"n{number}"
        self.home = os.path.join(world.directory, self.name)
        os.makedirs(self.home)
        world.network.add_host(self.name)
        self.disk = Disk(self.home, world.network.can_cut)
        self.clock = Clock(self.home)
        self.process = Process(world.loop, world.network, self.name, os.path.join(self.home, "log"))
        self.sanitizer = sanitizer_library(world.lockstepd)
        self.held = set()
        self.sent = set()
        self.disk_suspect = False
        self.starting = None
        self.broken = False # ended in a way that is a violation, and that no restart can help
        self.overdue = None
        self.role_said = (0, False)
        self.role_offset = 0

    # ---- starting ----

    def arguments(self):
        peer, client = self.world.network.endpoints(self.name)
        values = dict(self.world.settings)
        values["node-id"] = self.number
        values["data-dir"] = os.path.join(self.disk.directory, "data")
        values["listen"] = client
        values["peer-listen"] = peer
        values["peers"] = self.world.peers
        return [self.world.lockstepd] + [f"--{name}={value}" for name, value in values.items()]

    def start(self):
        self.starting = None
        if self.process.runs() or self.held or self.broken or self.world.ending:
            return
        self.sent = set()
        # What the last process made of a faulty disk, this one finds; that explains nothing but its start.
        self.disk_suspect = bool(self.disk.faulty)
        environment = {**self.disk.environment(), **self.clock.environment()}
        preload = (self.sanitizer, self.world.disk_library, self.world.clock_library)
        self.clock.fresh()
        self.role_said, self.role_offset = (0, False), os.path.getsize(self.process.log)
        self.world.history.write("start-node", node=self.number, clock_rate=self.clock.rate)
        self.process.spawn(self.arguments(), environment, preload, self.ended)

    def start_soon(self):
        if self.starting is None:
            self.starting = self.world.loop.after(RESTART_S, self.start)

    def hold(self, fault):
        self.held.add(fault)

    def let_go(self, fault):
        self.held.discard(fault)
        if not self.held and not self.process.runs():
            self.start_soon()

    # ---- ending ----

    def kill(self):
        if self.process.runs():
            self.sent.add(signal.SIGKILL)
            self.process.signal(signal.SIGKILL)

    def terminate(self):
        """In order: it hands leadership over, answers what it has, and ends with 0."""
        if self.process.runs() and not self.sent:
            self.sent.add(signal.SIGTERM)
            self.process.resume()
            self.process.signal(signal.SIGTERM)
            process = self.process.popen
            self.overdue = self.world.loop.after(TERM_S, lambda: self._overdue(process))

    def _overdue(self, popen):
        if self.process.popen is popen and popen is not None:
            self.world.violation(f"node {self.number} did not end within {TERM_S} s of SIGTERM", self.process.tail())
            self.kill()

    def ended(self, code):
        if self.overdue is not None:
            self.overdue.cancel()
            self.overdue = None
        self.world.history.write("node-ended", node=self.number, code=code)
        if not self.explained(code):
            self.broken = code not in RESTART_HELPS and code >= 0
            self.world.violation(f"node {self.number} {describe(code)}", self.process.tail())
        if self.world.ending or self.held or self.broken:
            return
        if self.sent or code in RESTART_HELPS or not self.disk.faulty:
            self.start_soon()
        else: # systemd leaves it; whoever repairs the disk starts it: see let_go() and mended()
            self.world.history.write("node-left", node=self.number, code=code)

    def explained(self, code):
        if code == -signal.SIGKILL:
            return signal.SIGKILL in self.sent
        if signal.SIGTERM in self.sent and code in (OK, -signal.SIGTERM):
            return True # the second, if it had not begun to listen to signals
        suspect = self.disk_suspect or bool(self.disk.faulty)
        return suspect and code in DISK_FAULT_EXITS

    # ---- the disk ----

    def disk_fault(self, fault):
        self.disk.faulty.add(fault)
        self.disk_suspect = True

    def mended(self, fault):
        """Space is there again, writes work again: a process that had no fault until now may still meet one that was."""
        self.disk.faulty.discard(fault)
        if not self.held and not self.process.runs():
            self.start_soon()

    # ---- what it says of itself ----

    def role(self):
        """(term, whether it serves as leader), by its log."""
        with open(self.process.log, "rb") as file:
            file.seek(self.role_offset)
            text = file.read()
        whole = text[:text.rfind(b"\n") + 1]
        self.role_offset += len(whole)
        for found in ROLE.finditer(whole.decode("utf-8", "replace")):
            self.role_said = (int(found.group(2)), found.group(1) == "leader" and found.group(3) == "true")
        term, serves = self.role_said
        return term, serves and self.process.runs() and not self.process.paused


def leader(nodes):
    """The node that serves in the highest term, or None."""
    roles = [(node.role(), node) for node in nodes]
    serving = [(term, node.number, node) for (term, serves), node in roles if serves]
    return max(serving)[2] if serving else None
