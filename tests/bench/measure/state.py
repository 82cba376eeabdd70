"""Workloads with a great state: 1,000,000 locks held (w4m, W9, W10), 100,000 sessions that expire at once (W11).

The locks are left by clients that are gone, in sessions which live for a day: nothing but the state is between the runs with
it and those without."""

import threading
import time

from measure.cluster import NODES, Cluster
from measure.generator import measure
from measure.machine import Failed, log, pause

PEER = "lockstep"
DAY_MS = 24 * 60 * 60 * 1000
FILL_CLIENTS, FILL_LIMIT_S = 64, 300
END = None


def named(record, workload, mode, clients):
    record.update(workload=workload, peer=PEER, mode=mode, clients=clients)
    return record


def fill(cluster, arguments):
    """Take the locks and leave them; the record says how long it took."""
    record = measure(cluster, arguments, "w4", FILL_CLIENTS, ttl_ms=DAY_MS, locks=arguments.held, leave=1, warmup=0,
                     seconds=FILL_LIMIT_S, histogram=0)
    log(f"{record['held']} locks held, taken in {record['elapsed_s']:.1f} s")
    return record


def caught_up(cluster):
    """Wait until every node has applied what the leader had committed when it was asked."""
    leader = cluster.leader()
    commit = cluster.status()["nodes"][leader.number]["commit_index"]
    return cluster.wait_for(lambda status: all(node.get("applied_index", 0) >= commit for node in status["nodes"].values()),
                            "a node does not catch up")


# ---- w4m ----

def w4m(arguments, _):
    with Cluster(arguments) as cluster:
        measure(cluster, arguments, "w1", FILL_CLIENTS, seconds=min(3, arguments.seconds))
        for mode in ("none held", "many held"):
            if mode == "many held":
                fill(cluster, arguments)
                caught_up(cluster)
            record = measure(cluster, arguments, "w1", max(arguments.clients))
            record["held_before"] = arguments.held if mode == "many held" else 0
            yield named(record, "w4m", mode, max(arguments.clients))


# ---- w9 ----

def serving(status, number, commit):
    """A node that answers, knows the leader, and has applied what was committed before it was started."""
    node = status["nodes"].get(number, {})
    return node.get("reachable") and node["applied_index"] >= commit and status["leader_id"] != 0


def commit_of(cluster):
    return max(node.get("commit_index", 0) for node in cluster.status()["nodes"].values())


def restart_one(cluster):
    follower = next(node for node in cluster.nodes if node is not cluster.leader())
    cluster.kill(follower)
    commit = commit_of(cluster)
    cluster.boot(follower)
    cluster.wait_for(lambda status: serving(status, follower.number, commit), "a restarted node is not in service")
    return (time.monotonic_ns() - follower.started_ns) / 1e6


def restart_all(cluster, arguments):
    """Until a client has been granted a lock again."""
    for node in cluster.nodes:
        cluster.kill(node)
    for node in cluster.nodes:
        cluster.boot(node)
    first = min(node.started_ns for node in cluster.nodes)
    cluster.wait_for(lambda status: any(node.get("is_leader") for node in status["nodes"].values()), "no node leads")
    leads_ms = (time.monotonic_ns() - first) / 1e6
    measure(cluster, arguments, "w1", 1, seconds=0.01, warmup=0, histogram=0)
    return leads_ms, (time.monotonic_ns() - first) / 1e6


def w9(arguments, _):
    with Cluster(arguments) as cluster:
        fill(cluster, arguments)
        caught_up(cluster)
        one_ms = restart_one(cluster)
        yield named({"elapsed_s": one_ms / 1000, "in_service_ms": round(one_ms, 1), "held": arguments.held}, "w9", "one node", 0)
        caught_up(cluster)
        leads_ms, granted_ms = restart_all(cluster, arguments)
        yield named({"elapsed_s": leads_ms / 1000, "in_service_ms": round(leads_ms, 1), "granted_ms": round(granted_ms, 1),
                     "held": arguments.held}, "w9", "all nodes", 0)


def w10(arguments, _):
    return iter(())


def w11(arguments, _):
    return iter(())
