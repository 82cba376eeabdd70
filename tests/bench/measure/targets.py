"""What the measurements are to show: a row for each target, looked up in the medians of what was measured."""

import statistics
from collections import namedtuple

Result = namedtuple("Result", "workload what measured target verdict")

MORE, LESS = "at least", "at most"


class Medians:
    """Medians by workload, service, mode and clients; None where nothing was measured."""

    def __init__(self, groups):
        self.groups = groups

    def records(self, workload, peer, mode=None, clients=None):
        """The groups that match: one for each mode and number of clients."""
        return [found for (w, p, m, c), found in self.groups.items()
                if w == workload and p == peer and mode in (None, m) and clients in (None, c)]

    def best(self, value, chosen, workload, *peers, mode=None, clients=None):
        """The greatest or smallest median of any of the services."""
        values = [statistics.median(value(record) for record in found)
                  for peer in peers for found in self.records(workload, peer, mode, clients)]
        return chosen(values) if values else None

    def ours(self, value, workload, mode=None, clients=None, chosen=max):
        return self.best(value, chosen, workload, "lockstep", mode=mode, clients=clients)


def rate(field):
    return lambda record: record[field] / record["elapsed_s"]


def latency(name, of):
    return lambda record: record[name + "_us"][of]


def judged(workload, what, measured, sense, target, unit=""):
    """One line; a measurement that is missing is no failure."""
    text = f"{sense} {target:g}{unit}"
    if measured is None:
        return Result(workload, what, "-", text, "not measured")
    met = measured >= target if sense == MORE else measured <= target
    return Result(workload, what, f"{measured:.3g}{unit}" if measured < 1000 else f"{measured:,.0f}{unit}", text,
                  "met" if met else "NOT MET")


def over(above, below):
    return None if above is None or not below else above / below


def throughput(medians):
    """The best that each service can do; and for us also what it is with a connection for each client."""
    for mode, how in (("shared", "256 clients on 4 connections"), ("default", "256 clients")):
        yield from throughput_of(medians, mode, how)


def throughput_of(medians, mode, how):
    ours = medians.ours(rate("cycles"), "w1", mode=mode, clients=256)
    for peers, name, times in ((("zookeeper",), "best ZooKeeper", 4), (("etcd", "etcd35"), "best etcd", 6),
                               (("redis",), "Redis", 1)):
        theirs = medians.best(rate("cycles"), max, "w1", *peers, clients=256)
        yield judged("w1", f"cycles/s of {how} over {name}", over(ours, theirs), MORE, times, "x")
    yield judged("w1", f"p99 of {how} over that of Redis",
                 over(medians.ours(latency("acquire", "p99"), "w1", mode=mode, clients=256),
                      medians.best(latency("acquire", "p99"), min, "w1", "redis", clients=256)), LESS, 1, "x")
    yield judged("w1", f"CPU of all nodes per 10,000 cycles, {how}",
                 medians.ours(lambda r: 1e4 * r["server_cpu_s"] / max(1, r["cycles"]), "w1", mode=mode, clients=256), LESS, 0.4,
                 " s")


def one_client(medians):
    ours = medians.ours(latency("acquire", "p50"), "w1", clients=1)
    zookeeper = medians.best(latency("acquire", "p50"), min, "w1", "zookeeper", mode="lean", clients=1)
    yield judged("w1", "p50 of one client over ZooKeeper lean", over(ours, zookeeper), LESS, 0.5, "x")
    # Each repetition by the floor that was measured beside it: the machine is not the same for all of them.
    ratios = [latency("acquire", "p50")(record) / (record["floor"]["write_us"]["p50"] + record["floor"]["round_trip_us"]["p50"])
              for found in medians.records("w1", "lockstep", clients=1) for record in found if "floor" in record]
    yield judged("w1", "p50 of one client over one durable write and one round trip",
                 statistics.median(ratios) if ratios else None, LESS, 1.6, "x")


def handoff(medians):
    for clients in (16, 64):
        ours = medians.ours(rate("handoffs"), "w2", clients=clients)
        zookeeper = medians.best(rate("handoffs"), max, "w2", "zookeeper", mode="recipe", clients=clients)
        redis = medians.best(rate("handoffs"), max, "w2", "redis", mode="pubsub", clients=clients)
        yield judged("w2", f"hand-offs/s of {clients} clients over the ZooKeeper recipe", over(ours, zookeeper), MORE, 3, "x")
        yield judged("w2", f"hand-offs/s of {clients} clients over Redis pubsub", over(ours, redis), MORE, 1, "x")
        for of, target in (("p50", 0.4), ("p99", 1)):
            value = medians.ours(latency("handoff", of), "w2", clients=clients)
            yield judged("w2", f"{of} of {clients} clients", None if value is None else value / 1000, LESS, target, " ms")


def failover(medians):
    found = [record for group in medians.records("w3", "lockstep") for record in group]
    trials = f" of {len(found)} trials"
    yield judged("w3", "median gap" + trials, medians.ours(lambda r: r["gap_ms"], "w3"), LESS, 400, " ms")
    yield judged("w3", "worst client" + trials, max((r["client_gap_max_ms"] for r in found), default=None), LESS, 600, " ms")
    yield judged("w3", "errors that a client sees", sum(r["errors"] for r in found) if found else None, LESS, 0)


def held(medians):
    def bytes_per_lock(record):
        i = record["leader_index"]
        return (record["mem_after"][i]["VmRSS"] - record["mem_before"][i]["VmRSS"]) / record["held"]
    yield judged("w4", "locks/s", medians.ours(rate("held"), "w4"), MORE, 100000)
    yield judged("w4", "leader RSS per held lock", medians.ours(bytes_per_lock, "w4"), LESS, 250, " B")
    yield judged("w4m", "cycles/s with the locks held over those with none",
                 over(medians.ours(rate("cycles"), "w4m", mode="many held"), medians.ours(rate("cycles"), "w4m", mode="none held")),
                 MORE, 0.9, "x")


def idle(medians):
    def per_session(record):
        i = record["leader_index"]
        return (record["mem_after"][i]["VmRSS"] - record["mem_before"][i]["VmRSS"]) / record["clients"] / 1000
    yield judged("w5", "of a core on the leader",
                 medians.ours(lambda r: 100 * r["leader_cpu_s"] / r["window_s"], "w5"), LESS, 1, " %")
    yield judged("w5", "leader RSS per idle connection and session", medians.ours(per_session, "w5"), LESS, 10, " kB")


def great_state(medians):
    value = medians.ours(lambda r: r["in_service_ms"], "w9", mode="one node")
    yield judged("w9", "one node back in service", None if value is None else value / 1000, LESS, 3, " s")
    without = medians.ours(latency("acquire", "p999"), "w10", mode="quiet")
    for mode in ("taken", "installed"):
        yield judged("w10", f"longest pause of the loop, snapshot {mode}", medians.ours(lambda r: r["pause_ms"], "w10", mode=mode),
                     LESS, 20, " ms")
        yield judged("w10", f"p99.9 over that without, snapshot {mode}",
                     over(medians.ours(latency("acquire", "p999"), "w10", mode=mode), without), LESS, 3, "x")
    yield judged("w11", "p99 over that without",
                 over(medians.ours(latency("acquire", "p99"), "w11", mode="expiring"),
                      medians.ours(latency("acquire", "p99"), "w11", mode="quiet")), LESS, 3, "x")
    found = [record for group in medians.records("w11", "lockstep") for record in group]
    yield judged("w11", "live sessions lost", sum(r["sessions_lost"] for r in found) if found else None, LESS, 0)


def check(groups):
    """All results, in the order of the workloads; only of workloads of which something was measured."""
    medians = Medians(groups)
    measured = {key[0] for key in groups}
    for part in (throughput, one_client, handoff, failover, held, idle, great_state):
        for result in part(medians):
            if result.workload in measured:
                yield result
