#!/usr/bin/env python3
"""The heal is told to every load, and to none that does not listen yet: one may have been started a moment before. And what
the run says of disks whose faults reached nobody."""

import os
import random
import signal
import sys
import tempfile
import types
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from nemesis import finish # noqa: E402
from nemesis.clients import Load # noqa: E402
from nemesis.disk import Disk # noqa: E402
from nemesis.history import History # noqa: E402
from nemesis.loop import Loop # noqa: E402
from nemesis.network import Loopback # noqa: E402

# In torture_load's place: it takes its time until it listens, and has then something to write.
LATE = """#!/bin/sh
while [ "$1" != --history ]; do shift; done
sleep 0.5
trap 'echo told >"'"$2"'.told"' USR1
echo '{}' >>"$2"
while :; do sleep 0.05; done
"""


class Storm:
    def end_all(self):
        pass


class World:
    """As much of nemesis/world.py as a load and the heal want."""

    def __init__(self, directory):
        self.directory = directory
        self.load = os.path.join(directory, "late")
        with open(self.load, "w", encoding="ascii") as file:
            file.write(LATE)
        os.chmod(self.load, 0o755)
        self.loop, self.network = Loop(), Loopback()
        self.history = History(os.path.join(directory, "nemesis.edn"))
        self.endpoints, self.clients_each, self.keys, self.ttl_ms = "x:1", 1, 1, 1000
        self.rng_load = random.Random(1)
        self.lives, self.ending, self.clock_library = 0, False, None
        self.nodes, self.said = [], []
        self.loads = [Load(self, 1)]

    def violation(self, what, _detail=""):
        self.said.append(what)


class Heal(unittest.TestCase):
    def test_a_load_is_told_when_it_listens(self):
        finish.leader = lambda nodes: True
        with tempfile.TemporaryDirectory() as directory:
            world = World(directory)
            load = world.loads[0]
            load.start()
            finish.heal(world, Storm())
            told = world.loop.wait(10, lambda: world.said or os.path.exists(load.histories[-1] + ".told"))
            load.expected = "KILL"
            load.process.signal(signal.SIGKILL)
            world.loop.wait(10, lambda: not load.process.runs())
            world.history.close()
            self.assertTrue(told)
            self.assertEqual(world.said, [])


class Disks(unittest.TestCase):
    def test_faults_that_reach_no_call_are_told(self):
        with tempfile.TemporaryDirectory() as directory:
            nodes = [types.SimpleNamespace(disk=Disk(os.path.join(directory, name), False)) for name in ("n1", "n2")]
            said = []
            world = types.SimpleNamespace(nodes=nodes, violation=said.append)
            finish.look_at_disks(world, types.SimpleNamespace(drawn={"disk-slow": 2, "disk-fail": 1}))
            self.assertEqual(said, [])
            storm = types.SimpleNamespace(drawn={"disk-slow": 3, "disk-fail": 3})
            nodes[1].disk.set(delayed=1)
            finish.look_at_disks(world, storm)
            self.assertEqual(said, ["disk-fail was drawn 3 times, and no call of any node was failed"])
            nodes[0].disk.set(failed=1)
            finish.look_at_disks(world, storm)
            self.assertEqual(len(said), 1)


if __name__ == "__main__":
    unittest.main()
