#!/usr/bin/env python3
"""The run fails when it must: every plant is noticed, and named.

usage: test_plants.py BIN [PLANT]..."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
TORTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, TORTURE)

from nemesis.plant import NOTICED # noqa: E402

SECONDS = 8
# Ends only after a minute without progress: by name.
SLOW = ("unhealed",)


def main():
    plants = sys.argv[2:] or [plant for plant in NOTICED if plant not in SLOW]
    command = [os.path.join(TORTURE, "run"), "--seconds", str(SECONDS), "--faults", "none", "--plant", ",".join(plants),
               "--bin", sys.argv[1], "--forget"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    said = [line for line in done.stdout.splitlines() if line.startswith("VIOLATION: ")]
    missed = [plant for plant in plants if not any(NOTICED[plant] in line for line in said)]
    for plant in plants:
        print(f"{plant}: {'NOT NOTICED' if plant in missed else 'noticed'}")
    if missed or done.returncode != 1:
        print(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
