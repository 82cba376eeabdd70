#!/usr/bin/env python3
"""A run with more lives of its loads than the judge takes files is judged, the last line of a life that was killed left out.

usage: test_histories.py PATH/torture_judge"""

import os
import subprocess
import sys
import tempfile
import types
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from nemesis import finish # noqa: E402

JUDGE = sys.argv[1] if len(sys.argv) == 2 else None
LIVES = 300
ASKED = '{:process %d :type :invoke :f :status :time %d :value {:key "k"}}\n'


class Histories(unittest.TestCase):
    def test_any_number_of_lives(self):
        with tempfile.TemporaryDirectory() as home:
            load = types.SimpleNamespace(home=home, histories=[])
            for life in range(LIVES):
                load.histories.append(os.path.join(home, f"history-{life}.edn"))
                with open(load.histories[-1], "w", encoding="ascii") as file:
                    file.write(ASKED % (life, life) + "{:process 7 :type :i" * (life % 2))
            load.histories.append(os.path.join(home, "never-written.edn"))
            path = finish.joined(load)
            with open(path, encoding="ascii") as file:
                self.assertEqual(file.read(), "".join(ASKED % (life, life) for life in range(LIVES)))
            done = subprocess.run([JUDGE, path], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(f" {LIVES} lines", done.stdout)


if __name__ == "__main__":
    if JUDGE is None:
        sys.exit("usage: test_histories.py PATH/torture_judge")
    unittest.main(argv=sys.argv[:1])
