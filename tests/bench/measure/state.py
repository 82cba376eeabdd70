"""Workloads with a great state: 1,000,000 locks held (w4m, W9, W10), 100,000 sessions that expire at once (W11).

The locks are left by clients that are gone, in sessions which live for a day: nothing but the state is between the runs with
it and those without."""

import threading
import time

from measure.cluster import Cluster
from measure.generator import measure
from measure.machine import Failed, log, pause

PEER = "lockstep"
DAY_MS = 24 * 60 * 60 * 1000
FILL_CLIENTS, FILL_LIMIT_S = 64, 300
RESTART_S = 10


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


def said(node, words):
    with open(node.log, encoding="utf-8", errors="replace") as file:
        return file.read().count(words)


def no_snapshot(cluster):
    """Wait until no node takes a snapshot: filling the state has set that off, and it is not what is measured."""
    def ended(_):
        return all(said(node, "snapshot begun at entry") <=
                   said(node, ", log kept from") + said(node, "could not be finished") for node in cluster.nodes)
    cluster.wait_for(ended, "a snapshot does not end")


# ---- w4m ----

def w4m(arguments, _):
    with Cluster(arguments, {"log-level": "debug"}) as cluster:
        measure(cluster, arguments, "w1", FILL_CLIENTS, seconds=min(3, arguments.seconds))
        for mode in ("none held", "many held"):
            if mode == "many held":
                fill(cluster, arguments)
                caught_up(cluster)
                no_snapshot(cluster)
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
    """Until a client that was there all the time is granted locks again; what it was told meanwhile."""
    def restart():
        for node in cluster.nodes:
            cluster.kill(node)
        for node in cluster.nodes:
            cluster.boot(node)

    record = measure(cluster, arguments, "w3", 1, after_start=restart, seconds=RESTART_S, histogram=0)
    first = min(node.started_ns for node in cluster.nodes)
    record["in_service_ms"] = round((record["gap_at_ns"] - first) / 1e6 + record["gap_ms"], 1)
    return record


def w9(arguments, _):
    with Cluster(arguments) as cluster:
        fill(cluster, arguments)
        caught_up(cluster)
        one_ms = restart_one(cluster)
        yield named({"elapsed_s": one_ms / 1000, "in_service_ms": round(one_ms, 1), "held": arguments.held}, "w9", "one node", 1)
        caught_up(cluster)
        record = restart_all(cluster, arguments)
        yield named({**record, "held": arguments.held}, "w9", "all nodes", 1)


# ---- w10 ----

W10_CLIENTS, W10_WINDOW_S, W10_WINDOWS = 64, 5, 8
PROBE_PACE_MS = 1


class Probe:
    """A client that asks the leader something it answers from memory, every millisecond: its slowest answer bounds how long the
    leader's loop stood still."""

    def __init__(self, cluster, arguments, seconds):
        self.result, self.error = None, None
        self.thread = threading.Thread(target=self.run, args=(cluster, arguments, seconds), daemon=True)
        self.thread.start()

    def run(self, cluster, arguments, seconds):
        try:
            leader = cluster.leader()
            self.result = measure(cluster, arguments, "w7", 1, seconds=seconds, stale=1, pace_ms=PROBE_PACE_MS, histogram=0,
                                  endpoints=leader.address, processes=1)
        except (Failed, OSError) as error:
            self.error = error

    def pause_ms(self):
        self.thread.join()
        if self.error:
            raise self.error
        return self.result["read_us"]["max"] / 1000


def snapshots(cluster):
    """The number of snapshots begun by the leader, taken by it, and installed by any node, as they say so."""
    leader = cluster.leader()
    begun = said(leader, "snapshot begun at entry")
    installed = sum(said(node, "is in place") for node in cluster.nodes)
    status = cluster.status()
    return begun, status["nodes"][leader.number]["snapshot_index"], installed


def window(cluster, arguments, during=None):
    """W1 for some seconds, beside the probe; what happened meanwhile decides the mode."""
    before = snapshots(cluster)
    probe = Probe(cluster, arguments, W10_WINDOW_S)
    record = measure(cluster, arguments, "w1", W10_CLIENTS, seconds=W10_WINDOW_S, after_start=during)
    pause_ms = probe.pause_ms()
    after = snapshots(cluster)
    record.update(pause_ms=pause_ms, snapshots=after[0] - before[0])
    happened = {"taken": after[0] > before[0] or after[1] != before[1], "installed": after[2] > before[2]}
    return record, happened


def w10(arguments, _):
    """Default settings but for the log's level, which tells when a snapshot begins. Load until a snapshot was taken, with one
    follower down; then start the follower, which by then needs it."""
    with Cluster(arguments, {"log-level": "debug"}) as cluster:
        fill(cluster, arguments)
        caught_up(cluster)
        follower = next(node for node in cluster.nodes if node is not cluster.leader())
        found = {"quiet": 0, "taken": 0}
        cluster.kill(follower)
        applied = commit_of(cluster)
        for _ in range(W10_WINDOWS):
            record, happened = window(cluster, arguments)
            mode = "taken" if happened["taken"] else "quiet"
            found[mode] += 1
            if found[mode] <= 2:
                yield named(record, "w10", mode, W10_CLIENTS)
            first = cluster.status()["nodes"][cluster.leader().number]["log_first_index"]
            if min(found.values()) > 0 and first > applied:
                break
        else:
            raise Failed(f"in {W10_WINDOWS * W10_WINDOW_S} s of load there was no snapshot that the follower would need, "
                         f"or no time without one: {found}")
        record, happened = window(cluster, arguments, during=lambda: cluster.boot(follower))
        if not happened["installed"]:
            raise Failed("the follower was sent no snapshot")
        yield named(record, "w10", "installed", W10_CLIENTS)


# ---- w11 ----

W11_CLIENTS, W11_SWARM_CLIENTS, W11_WINDOW_S, W11_LEAD_S, W11_WINDOWS = 64, 64, 8, 4, 4


def sessions_of(cluster):
    return max(node.get("sessions_count", 0) for node in cluster.status()["nodes"].values())


def w11_window(cluster, arguments):
    sessions = sessions_of(cluster)
    record = measure(cluster, arguments, "w1", W11_CLIENTS, seconds=W11_WINDOW_S)
    record["expired"] = sessions - sessions_of(cluster)
    return record


def w11(arguments, _):
    """On a machine that is too slow the cluster's time may lag behind (a turn of the loop advances it by so much at most), and
    the sessions expire later than the common moment: the window in which they do is the one that counts."""
    with Cluster(arguments) as cluster:
        measure(cluster, arguments, "w1", W11_CLIENTS, seconds=min(3, arguments.seconds))
        before = sessions_of(cluster)
        expire_at = time.monotonic() + arguments.expire_after
        made = measure(cluster, arguments, "w11", W11_SWARM_CLIENTS, locks=arguments.expiring, warmup=0, histogram=0,
                       seconds=arguments.expire_after, expire_after=arguments.expire_after)
        log(f"{made['held']} sessions made in {made['elapsed_s']:.1f} s")
        sessions_made = sessions_of(cluster) - before
        yield named(w11_window(cluster, arguments), "w11", "quiet", W11_CLIENTS)
        left_s = expire_at - time.monotonic() - W11_LEAD_S - arguments.warmup
        if left_s < 0:
            raise Failed(f"making the sessions took too long: give them {arguments.expire_after - left_s:.0f} s with --expire-after")
        pause(left_s)
        windows = [w11_window(cluster, arguments)]
        while len(windows) < W11_WINDOWS and windows[-1]["expired"] < arguments.expiring * 0.9:
            windows.append(w11_window(cluster, arguments))
        if windows[-1]["expired"] < arguments.expiring * 0.9:
            raise Failed(f"of {sessions_made} sessions, {[record['expired'] for record in windows]} expired in each {W11_WINDOW_S} s")
        yield named(windows[-1], "w11", "expiring", W11_CLIENTS)
