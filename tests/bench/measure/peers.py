"""The other services: their own runner, called for one repetition at a time, so that they alternate with ours."""

import json
import os
import subprocess
import sys
import tempfile

from measure.machine import Failed, end, log, spawn

SHARED = ("w1", "w2", "w3", "w4", "w5")
KNOWN = ("etcd", "etcd35", "zookeeper", "redis")


def runner(directory):
    path = os.path.join(directory, "run")
    return path if os.path.exists(path) else None


def commands(arguments, workload, peer, rep, output):
    """One call, or for w2 one for each length of the queue, as their runner takes one."""
    common = [runner(arguments.peers), peer, "--workloads", workload, "--reps", "1", "--seconds", str(arguments.seconds),
              "--warmup", str(arguments.warmup), "--clients", ",".join(str(number) for number in arguments.clients),
              "--trials", str(len(range(rep, arguments.trials, arguments.reps))),
              "--failover-seconds", str(arguments.failover_seconds), "--locks", str(arguments.locks),
              "--window", str(arguments.window), "--idle", str(arguments.idle), "--idle-seconds", str(arguments.idle_seconds),
              "--lock-file", arguments.lock_file, "--data-root", arguments.data_root, "--json", output, "--append"]
    if arguments.peer_modes and peer != "redis":
        common += ["--modes", ",".join(arguments.peer_modes)]
    if workload != "w2":
        return [common]
    return [common + ["--queue", str(queue)] for queue in arguments.queue]


def measure(arguments, workload, peer, rep):
    """The records of one repetition of one peer, and its version."""
    records, versions = [], {}
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-peers-") as directory:
        for number, command in enumerate(commands(arguments, workload, peer, rep, os.path.join(directory, "0.json"))):
            output = os.path.join(directory, f"{number}.json")
            command[command.index("--json") + 1] = output
            log(f"{workload} {peer} rep {rep}: {' '.join(command[1:6])} ...")
            process = spawn([sys.executable, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            try:
                if process.wait() != 0:
                    raise Failed(f"{peer}'s runner ended with {process.returncode}")
            finally:
                end(process)
            with open(output, encoding="utf-8") as file:
                found = json.load(file)
            records += found["records"]
            versions.update(found["versions"])
    if not records:
        raise Failed(f"{peer}'s runner has measured nothing")
    for record in records:
        record["rep"] = rep
    return records, versions
