"""A process' idea of time, by libfaketime. Two kinds, chosen when the process starts and the same until it ends:

rate   all its clocks run faster or slower than the machine's, CLOCK_MONOTONIC, CLOCK_BOOTTIME and time limits included,
       as a bad oscillator would have it. A rate is not changed while the process runs: its monotonic clock would jump.
wall   its wall clock jumps, by an offset in a file that the nemesis writes; nothing that is promised depends on it.

The machine's own clock is never set."""

import glob
import os

RATE_LOW, RATE_HIGH = 0.96, 1.04
LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


def library():
    """The path of libfaketime, or None where it is not installed."""
    found = [path for pattern in LIBRARIES for path in sorted(glob.glob(pattern))]
    return found[0] if found else None


class Clock:
    def __init__(self, home):
        self.path = os.path.join(home, "faketime")
        self.rate = 1.0
        self.wall = False

    def choose(self, rng):
        """For the next process: a rate, a wall clock that may jump, or the machine's time."""
        kind = rng.choice(("rate", "rate", "wall"))
        self.rate = round(rng.uniform(RATE_LOW, RATE_HIGH), 3) if kind == "rate" else 1.0
        self.wall = kind == "wall"

    def environment(self):
        if self.wall:
            self.jump(0)
            return {"FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        if self.rate != 1.0:
            return {"FAKETIME": f"+0 x{self.rate}"}
        return {}

    def jump(self, seconds):
        """Takes effect at the process' next look at its clock."""
        new = self.path + ".new"
        with open(new, "w", encoding="ascii") as file:
            file.write(f"{seconds:+d}\n")
        os.replace(new, self.path)
