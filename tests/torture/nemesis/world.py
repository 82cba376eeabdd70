"""One run: everything it consists of, and how it begins. Its end is in finish.py."""

import os
import random
import shutil

from nemesis import clock
from nemesis.clients import Load
from nemesis.history import History
from nemesis.loop import Loop
from nemesis.network import Loopback, Network
from nemesis.nodes import Node, leader, settings
from nemesis.process import sanitizer_library

LEADER_S = 60
SHOWN_MAX = 2


class World:
    def __init__(self, arguments, directory, namespaces):
        self.directory = directory
        self.lockstepd = os.path.join(arguments.bin, "lockstepd")
        self.load = os.path.join(arguments.bin, "torture_load")
        self.judge = os.path.join(arguments.bin, "torture_judge")
        self.disk_library = os.path.join(os.path.dirname(arguments.bin), "tests", "torture_disk_faults.so")
        self.clock_library = os.path.join(os.path.dirname(arguments.bin), "tests", "torture_clock_faults.so")
        self.keys, self.clients_each, self.ttl_ms = arguments.keys, arguments.clients, arguments.ttl_ms
        self.fault_names = set(arguments.faults)
        self.loop = Loop()
        self.network = Network() if namespaces else Loopback()
        self.history = History(os.path.join(directory, "nemesis.edn"))
        self.rng = random.Random(f"{arguments.seed} world")
        self.rng_load = random.Random(f"{arguments.seed} load")
        self.sanitized = sanitizer_library(self.lockstepd) is not None
        self.settings = settings(self.rng, self.sanitized)
        self.violations = {} # how often each was seen
        self.faults_begun = 0
        self.lives = 0
        self.ending = False
        self.nodes = [Node(self, number) for number in range(1, arguments.nodes + 1)]
        self.loads = [Load(self, number) for number in range(1, arguments.processes + 1)]
        ends = {node.number: self.network.endpoints(node.name) for node in self.nodes}
        self.peers = ",".join(f"{number}={peer}/{client}" for number, (peer, client) in ends.items())
        self.endpoints = ",".join(client for _, client in ends.values())

    def has(self, fault):
        return fault in self.fault_names

    def next_fault(self):
        self.faults_begun += 1
        return self.faults_begun

    def violation(self, what, detail=""):
        """Something that must not be. It is said at once, and again at the end."""
        self.history.write("violation", what=what)
        self.violations[what] = self.violations.get(what, 0) + 1
        if self.violations[what] <= SHOWN_MAX:
            print(f"VIOLATION: {what}\n{detail}", flush=True)

    def choose_clocks(self):
        """Rates differ from the first moment on."""
        if self.has("clock-rate"):
            for node in self.nodes:
                node.clock.run_at(clock.draw_rate(self.rng))
            for load in self.loads:
                load.next_rate = clock.draw_rate(self.rng)

    def begin(self):
        """A fresh cluster needs all of its nodes once."""
        self.choose_clocks()
        self.history.write("start", nodes=len(self.nodes), settings=self.settings)
        for node in self.nodes:
            node.start()
        if not self.loop.wait(LEADER_S, lambda: leader(self.nodes) is not None):
            self.violation(f"no leader within {LEADER_S} s of the start", self.nodes[0].process.tail())
            return False
        for load in self.loads:
            load.start()
        return True

    def keep_data(self):
        """The nodes' files are on file systems that go with the run: copy them beside the logs."""
        for node in self.nodes:
            source = os.path.join(node.disk.directory, "data")
            if os.path.isdir(source):
                shutil.copytree(source, os.path.join(node.home, "data"), dirs_exist_ok=True)
