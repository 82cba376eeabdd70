"""What is measured, and how: a function for each workload, which is one repetition of it and yields its records.

W1 to W5 are those of the benchmark of the other services, with the same names, sizes, warming up and fields; w4m and W7 to
W11 are ours alone. Each repetition has a cluster of its own. See docs/performance.md."""

import json
import os
import subprocess
import time

from measure.cluster import Cluster
from measure.generator import disturbed, measure
from measure.machine import Failed, log, pause
from measure.state import w4m, w9, w10, w11

PEER = "lockstep"
WARM_UP_CLIENTS, WARM_UP_S = 64, 3
KILL_AFTER_S = 2
FAILOVER_CLIENTS, HOLD_CLIENTS, MIXED_CLIENTS = 64, 64, 64
HOLD_LIMIT_S = 60
# Of w1 with many clients: sessions that they share, as the workers of an application would, and as etcd's clients do in its
# benchmark's best mode.
SHARED_CONNECTIONS, SHARED_FROM = 4, 64


def warm_up(cluster, arguments):
    measure(cluster, arguments, "w1", WARM_UP_CLIENTS, seconds=min(WARM_UP_S, arguments.seconds))


def named(record, workload, mode, clients):
    record.update(workload=workload, peer=PEER, mode=mode, clients=clients)
    return record


def undisturbed(cluster, arguments, workload, mode, clients, **options):
    """Records of one point: the first that nothing disturbed ends the tries."""
    for left in reversed(range(arguments.tries)):
        record = named(measure(cluster, arguments, workload, clients, **options), workload, mode, clients)
        yield record
        if not disturbed(record):
            return
        log(f"disturbed: something else used {record['other_cpu_s']} s of the processors{'; once more' if left else ''}")


def probe(arguments):
    """What this machine's disk and loopback take by themselves: the floor of a durable grant."""
    command = [os.path.join(arguments.bin, "bench_probe"), "--dir", arguments.data_root]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if result.returncode != 0:
        raise Failed(f"bench_probe failed: {result.stderr.strip()}")
    return json.loads(result.stdout)


def w1(arguments, _):
    with Cluster(arguments) as cluster:
        warm_up(cluster, arguments)
        for clients in arguments.clients:
            floor = probe(arguments) if clients == 1 else None
            for record in undisturbed(cluster, arguments, "w1", "default", clients):
                if floor:
                    record["floor"] = floor
                yield record
            if clients >= SHARED_FROM:
                yield from undisturbed(cluster, arguments, "w1", "shared", clients, connections=SHARED_CONNECTIONS)


def w2(arguments, _):
    with Cluster(arguments) as cluster:
        warm_up(cluster, arguments)
        for clients in arguments.queue:
            yield from undisturbed(cluster, arguments, "w2", "default", clients)


def failover(cluster, arguments):
    """One trial: the leader is killed two seconds into the run, and started again afterwards."""
    leader = cluster.leader()
    killed = {}

    def kill():
        pause(min(KILL_AFTER_S, arguments.failover_seconds / 4))
        killed["ns"] = time.monotonic_ns()
        cluster.kill(leader)

    record = measure(cluster, arguments, "w3", FAILOVER_CLIENTS, after_start=kill, seconds=arguments.failover_seconds)
    record["gap_after_kill_ms"] = round((record["gap_at_ns"] - killed["ns"]) / 1e6, 1)
    cluster.boot(leader)
    cluster.wait_ready()
    return named(record, "w3", "default", FAILOVER_CLIENTS)


def w3(arguments, rep):
    """The trials are dealt out to the repetitions, so that they alternate with those of others."""
    trials = len(range(rep, arguments.trials, arguments.reps))
    if trials == 0:
        return
    with Cluster(arguments) as cluster:
        warm_up(cluster, arguments)
        for _ in range(trials):
            yield failover(cluster, arguments)


def w4(arguments, _):
    with Cluster(arguments) as cluster:
        yield named(measure(cluster, arguments, "w4", HOLD_CLIENTS, seconds=HOLD_LIMIT_S), "w4", "default", HOLD_CLIENTS)


def w5(arguments, _):
    with Cluster(arguments) as cluster:
        record = measure(cluster, arguments, "w5", arguments.idle, seconds=max(arguments.seconds, arguments.idle_seconds))
        yield named(record, "w5", "default", arguments.idle)


def w6(_, __):
    log("w6, which is w1 with TLS: not there yet, the nodes speak no TLS")
    return iter(())


def w7(arguments, _):
    with Cluster(arguments) as cluster:
        warm_up(cluster, arguments)
        for clients in arguments.clients:
            for mode, stale in (("linearizable", 0), ("stale", 1)):
                yield named(measure(cluster, arguments, "w7", clients, stale=stale), "w7", mode, clients)


def w8(arguments, _):
    with Cluster(arguments) as cluster:
        warm_up(cluster, arguments)
        yield named(measure(cluster, arguments, "w8", MIXED_CLIENTS), "w8", "default", MIXED_CLIENTS)


WORKLOADS = {
    "w1": (w1, "uncontended acquire and release"),
    "w2": (w2, "hand-off of one key"),
    "w3": (w3, "the leader is killed"),
    "w4": (w4, "many locks held"),
    "w4m": (w4m, "w1 with 1,000,000 locks held, and with none"),
    "w5": (w5, "idle sessions"),
    "w6": (w6, "w1 with TLS"),
    "w7": (w7, "status reads, linearizable and stale"),
    "w8": (w8, "80 % uncontended cycles, 20 % on 100 hot keys"),
    "w9": (w9, "restart with 1,000,000 locks held"),
    "w10": (w10, "w1 while a snapshot of 1,000,000 locks is taken and installed"),
    "w11": (w11, "w1 while 100,000 sessions expire at once"),
}
