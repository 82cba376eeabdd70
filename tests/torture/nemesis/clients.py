"""The load: processes of torture_load, each with many clients. One that is killed is followed by a fresh one with owners and
process numbers of its own, since what the dead one had open stays open for ever."""

import os
import signal

from nemesis.clock import Clock
from nemesis.process import Process, describe, sanitizer_library

# More than one process of the load can use up.
NUMBERS_EACH = 100_000_000
RESTART_S = 0.5
LEAVE_S = 60


class Load:
    def __init__(self, world, number):
        self.world = world
        self.number = number
        self.name = f"c{number}"
        self.home = os.path.join(world.directory, self.name)
        os.makedirs(self.home)
        world.network.add_host(self.name)
        self.clock = Clock(self.home)
        self.process = Process(world.loop, world.network, self.name, os.path.join(self.home, "log"))
        self.sanitizer = sanitizer_library(world.load)
        self.next_rate = 1.0 # of the next life: the load is told its rate when it starts
        self.expected = None
        self.broken = False
        self.life = 0
        self.histories = []
        self.starting = None

    def prefix(self):
        """Of the owners of the present life: c1.2.0, c1.2.1, …"""
        return f"{self.name}.{self.life}."

    def owners(self):
        return [f"{self.prefix()}{index}" for index in range(self.world.clients_each)]

    def start(self):
        self.starting = None
        if self.process.runs() or self.world.ending:
            return
        world = self.world
        self.life += 1
        self.expected = None
        world.lives += 1
        path = os.path.join(self.home, f"history-{self.life}.edn")
        self.histories.append(path)
        arguments = [world.load, "--endpoints", world.endpoints, "--clients", str(world.clients_each),
                     "--keys", str(world.keys), "--seed", str(world.rng_load.getrandbits(48)),
                     "--process-base", str(world.lives * NUMBERS_EACH), "--owner-prefix", self.prefix(),
                     "--history", path, "--ttl-ms", str(world.ttl_ms), "--until-signal"]
        self.clock.run_at(self.next_rate)
        self.clock.fresh()
        if self.clock.rate != 1.0:
            arguments += ["--clock-rate", str(self.clock.rate)]
        world.history.write("start-client", host=self.name, life=self.life, clock_rate=self.clock.rate)
        self.process.spawn(arguments, self.clock.environment(), (self.sanitizer, world.clock_library), self.ended)

    def acts(self):
        """Whether it has begun to ask: before that it listens to signals."""
        history = self.histories[-1] if self.histories else ""
        return self.process.runs() and os.path.exists(history) and os.path.getsize(history) > 0

    def start_soon(self):
        if self.starting is None:
            self.starting = self.world.loop.after(RESTART_S, self.start)

    def crash(self):
        if self.process.runs() and self.expected is None:
            self.expected = "KILL"
            self.process.signal(signal.SIGKILL)

    def pause(self):
        if self.process.runs() and not self.process.paused:
            self.world.history.write("pause", owners=self.owners())
            self.process.pause()

    def resume(self):
        if self.process.runs() and self.process.paused:
            self.process.resume()
            self.world.history.write("resume", owners=self.owners())

    def leave(self):
        """It stops asking, gives back what it has, and ends."""
        self.resume()
        if self.process.runs():
            self.expected = "TERM"
            self.process.signal(signal.SIGTERM)

    def ended(self, code):
        if self.expected == "KILL" and code == -signal.SIGKILL:
            self.world.history.write("crash", owners=self.owners())
            self.start_soon()
        elif self.expected != "TERM" or code != 0:
            self.world.history.write("crash", owners=self.owners())
            self.broken = True # it is a program of ours, that should not end: no other follows
            self.world.violation(f"the load {self.name} {describe(code)}", self.process.tail())
