"""A process' idea of time, by clock_faults.c, which is told in a file what the process' clocks are to show:

rate   all of them run faster or slower than the machine's, as a bad oscillator would have it, time limits included.
       A rate may change while the process runs; the clocks then go on from where they are.
wall   the wall clock jumps besides, forwards and backwards; nothing that is promised depends on it.

The machine's own clock is never set."""

import mmap
import os
import struct
import time

RATE_LOW, RATE_HIGH = 0.96, 1.04
PPM = 1_000_000
# The bytes of struct control in clock_faults.c: sequence, begin_ns, skew_ns, rate_ppm, wall_ns.
FORMAT = "=Qqqqq"


class Clock:
    def __init__(self, home):
        self.path = os.path.join(home, "clock-faults")
        self.rate = 1.0
        self.wall_s = 0
        self.begin_ns = self.skew_ns = self.sequence = 0
        with open(self.path, "wb") as file:
            file.write(bytes(struct.calcsize(FORMAT)))
        with open(self.path, "r+b") as file:
            self.control = mmap.mmap(file.fileno(), 0)

    def environment(self):
        return {"LOCKSTEP_TORTURE_CLOCK": self.path}

    def _write(self):
        rest = (self.begin_ns, self.skew_ns, round((self.rate - 1.0) * PPM), self.wall_s * 1_000_000_000)
        struct.pack_into("=Q", self.control, 0, self.sequence + 1)
        struct.pack_into("=qqqq", self.control, 8, *rest)
        struct.pack_into("=Q", self.control, 0, self.sequence + 2)
        self.sequence += 2

    def fresh(self):
        """For a process that is about to start: its clocks begin at the machine's time."""
        self.begin_ns, self.skew_ns = time.monotonic_ns(), 0
        self._write()

    def run_at(self, rate):
        now = time.monotonic_ns()
        # As clock_faults.c counts it, in whole microseconds.
        self.skew_ns += (now - self.begin_ns) // 1000 * round((self.rate - 1.0) * PPM) // 1000
        self.begin_ns, self.rate = now, rate
        self._write()

    def jump_to(self, seconds):
        """The wall clock is off by so much from now on."""
        self.wall_s = seconds
        self._write()


def draw_rate(rng):
    """Often one of the ends, where the margins are."""
    return rng.choice((RATE_LOW, RATE_HIGH, 1.0, round(rng.uniform(RATE_LOW, RATE_HIGH), 3)))
