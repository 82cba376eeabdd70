#!/usr/bin/env python3
"""That tests/bench/run works: each workload, made as small as it goes, gives records with all of their fields, and counts
something. Nothing about speed.

usage: smoke.py BIN"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = sys.argv[1] if len(sys.argv) == 2 else None
LIMIT_S = 100

LATENCY = {"n", "mean", "p50", "p90", "p99", "p999", "p9999", "max"}
# What the benchmark of other lock services has in each record.
EVERYWHERE = {"workload", "peer", "mode", "clients", "rep", "elapsed_s", "cycles", "handoffs", "reacquires", "errors", "held",
              "acquire_us", "handoff_us", "server_cpu_s", "leader_cpu_s", "load_cpu_s", "machine_busy_s", "window_s",
              "other_cpu_s", "rss_mib", "leader_index"}
ALSO = {"w3": {"gap_ms", "gap_at_ns", "gap_after_kill_ms", "client_gap_p50_ms", "client_gap_max_ms"},
        "w4": {"mem_before", "mem_after"}}
COUNTED = {"w1": "cycles", "w2": "handoffs", "w3": "cycles", "w4": "held", "w7": "reads"}

SMALL = ["--reps", "1", "--seconds", "0.3", "--warmup", "0.1", "--tries", "1", "--clients", "5", "--queue", "3",
         "--trials", "1", "--failover-seconds", "3", "--locks", "500", "--lock-file", ""]
# So that it does not take seconds until a cluster has its first leader.
QUICK = {"LOCKSTEPD_ELECTION_TIMEOUT": "300ms", "LOCKSTEPD_HEARTBEAT": "50ms"}
WORKLOADS = ("w1", "w2", "w3", "w4", "w7")


def run(*arguments):
    command = [sys.executable, "-B", os.path.join(HERE, "run"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S, env={**os.environ, **QUICK})


class Smoke(unittest.TestCase):
    def test_records(self):
        """Also with more than one process of load, which shares out clients and locks and adds up what was counted."""
        with tempfile.TemporaryDirectory() as directory:
            output = os.path.join(directory, "out.json")
            root = ["--bin", BIN, "--data-root", directory, "--json", output, "--pictures", directory]
            result = run(*SMALL, *root, "--workloads", ",".join(WORKLOADS), "--processes", "2")
            self.assertEqual(result.returncode, 0, result.stderr)
            with open(output, encoding="utf-8") as file:
                records = json.load(file)["records"]
            self.assertEqual({record["workload"] for record in records}, set(WORKLOADS))
            for record in records:
                self.check(record)
            self.assertEqual([record["held"] for record in records if record["workload"] == "w4"], [500])
            self.assertIn("| lockstep | default | 5 |", result.stdout)
            self.assertTrue(os.path.exists(os.path.join(directory, "w1.svg")))
            self.assertEqual([name for name in os.listdir(directory) if name.startswith("lockstep-bench-")], [])

    def check(self, record):
        workload = record["workload"]
        missing = (EVERYWHERE | ALSO.get(workload, set())) - set(record)
        self.assertEqual(missing, set(), record)
        self.assertEqual(set(record["acquire_us"]), LATENCY)
        if workload in COUNTED:
            self.assertGreater(record[COUNTED[workload]], 0, record)
        if workload != "w3":
            self.assertEqual(record["errors"], 0, record.get("said"))
        self.assertEqual(record["sessions_lost"], 0, record.get("said"))

    def test_refusals(self):
        for arguments, said in ((["--workloads", "w99"], 'there is no workload "w99"'),
                                (["--clients", "1,x"], 'a number from 1 to 100000, not "x"'),
                                (["--bin", "/nonexistent"], "is missing"),
                                (["--bin", BIN, "--data-root", "/nonexistent"], "there is no directory /nonexistent"),
                                (["--bin", BIN, "--against", "redis", "--peers", "/nonexistent"], "--against needs")):
            result = run(*arguments)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(said, result.stderr)


if __name__ == "__main__":
    if BIN is None:
        sys.exit("usage: smoke.py BIN")
    unittest.main(argv=sys.argv[:1])
