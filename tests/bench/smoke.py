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
         "--trials", "1", "--failover-seconds", "2", "--locks", "500", "--lock-file", ""]
# So that it does not take seconds until a cluster has its first leader.
QUICK = {"LOCKSTEPD_ELECTION_TIMEOUT": "300ms", "LOCKSTEPD_HEARTBEAT": "50ms"}
WORKLOADS = ("w1", "w2", "w3", "w4", "w7")


sys.path.insert(0, HERE)
from measure.report import comparison, floors, targets # noqa: E402  # pylint: disable=wrong-import-position


def cycles(peer, mode, rate, p99, cpu_s):
    """A record of w1 with 256 clients that nothing disturbed."""
    return {"workload": "w1", "peer": peer, "mode": mode, "clients": 256, "elapsed_s": 2.0, "cycles": 2 * rate,
            "acquire_us": {"p50": p99 / 2, "p99": p99}, "server_cpu_s": cpu_s, "load_cpu_s": 0, "machine_busy_s": cpu_s,
            "window_s": 2.0}


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

    def test_targets_and_ratios(self):
        """Medians are compared, with the best mode of the others, and in the right direction."""
        records = [cycles("lockstep", "default", rate, 1000, 3.6) for rate in (39000, 90000, 41000)]
        records += [cycles("zookeeper", "lean", 5000, 9000, 3), cycles("zookeeper", "recipe", 10250, 4000, 3),
                    cycles("etcd35", "best", 7000, 4000, 3), cycles("redis", "pubsub", 20500, 2000, 3)]
        judged = targets(records)
        for line in ("over best ZooKeeper | 4x | at least 4x | met |", "over best etcd | 5.86x | at least 6x | NOT MET |",
                     "over Redis | 2x | at least 1x | met |", "p99 of 256 clients over that of Redis | 0.5x | at most 1x | met |",
                     "10,000 cycles, 256 clients | 0.439 s | at most 0.4 s | NOT MET |",
                     "p50 of one client over ZooKeeper lean | - | at most 0.5x | not measured |"):
            self.assertIn(line, judged)
        compared = comparison(records)
        self.assertIn("| w1 | 256 | redis pubsub | cycles/s 2.00x; p50 2.00x; p99 2.00x; CPU of the nodes per cycle 1.67x |", compared)
        self.assertIn("| zookeeper lean | cycles/s 8.20x; p50 9.00x; p99 9.00x;", compared)

    def test_probe(self):
        with tempfile.TemporaryDirectory() as directory:
            result = subprocess.run([os.path.join(BIN, "bench_probe"), "--dir", directory, "--count", "60"],
                                    capture_output=True, text=True, check=False, timeout=LIMIT_S)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual({name: one["n"] for name, one in json.loads(result.stdout).items()},
                         {"write_us": 60, "round_trip_us": 60, "replicated_us": 60})

    def test_floors(self):
        """Also from records of a version whose probe measured less."""
        def probed(**p50):
            return {"floor": {name: {"n": 9, "p50": value, "p99": 2 * value} for name, value in p50.items()}}
        said = floors([probed(write_us=100), probed(write_us=300, replicated_us=500), probed(write_us=140), {}])
        self.assertIn("| a durable write of 4 KiB | 3 | 140 | 100-300 | 280 |", said)
        self.assertIn("| a write that two of three bare processes made durable | 1 | 500 | 500-500 | 1,000 |", said)
        self.assertNotIn("round trip", said)
        self.assertEqual(floors([{}]), "")

    def test_refusals(self):
        for arguments, said in ((["--workloads", "w99"], 'there is no workload "w99"'),
                                (["--clients", "1,x"], 'a number from 1 to 100000, not "x"'),
                                (["--bin", "/nonexistent"], "is missing"),
                                (["--bin", BIN, "--data-root", "/nonexistent"], "there is no directory /nonexistent"),
                                (["--doc", "/nonexistent"], "--doc: /nonexistent: No such file"),
                                (["--report", "/nonexistent"], "these are no records"),
                                (["--bin", BIN, "--against", "redis", "--peers", "/nonexistent"], "--against needs")):
            result = run(*arguments)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(said, result.stderr)


if __name__ == "__main__":
    if BIN is None:
        sys.exit("usage: smoke.py BIN")
    unittest.main(argv=sys.argv[:1])
