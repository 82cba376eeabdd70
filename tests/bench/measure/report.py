"""Tables of what was measured, the ratios to the others, and whether the targets are met; medians over repetitions."""

import statistics

from measure.generator import disturbed
from measure.targets import check

SERVICES = ("lockstep", "etcd", "etcd35", "zookeeper", "redis")


def other_cpu(record):
    return record.get("machine_busy_s", 0) - record.get("server_cpu_s", 0) - record.get("load_cpu_s", 0)


def grouped(records):
    """(workload, peer, mode, clients) -> its records: those that nothing disturbed, or else the three least disturbed."""
    groups = {}
    for record in records:
        groups.setdefault((record["workload"], record["peer"], record["mode"], record["clients"]), []).append(record)
    for key, found in groups.items():
        found.sort(key=other_cpu)
        clean = [record for record in found if not disturbed(record)]
        groups[key] = clean if len(clean) >= min(3, len(found)) else found[:3]
    return dict(sorted(groups.items(), key=lambda item: (item[0][0], SERVICES.index(item[0][1]), item[0][2], item[0][3])))


def median(records, value):
    return statistics.median(value(record) for record in records)


def percentile(name, of):
    return lambda record: record.get(name + "_us", {}).get(of, float("nan"))


def per_s(field):
    return lambda record: record[field] / record["elapsed_s"]


def growth(record, node=None, kind="VmRSS"):
    """Bytes by which the memory of one node, or of all, grew."""
    indexes = range(len(record["mem_before"])) if node is None else [node]
    return sum(record["mem_after"][i].get(kind, 0) - record["mem_before"][i].get(kind, 0) for i in indexes)


def leader_growth(record):
    return growth(record, record["leader_index"])


def whole(value):
    return "" if value != value else f"{value:,.0f}" # pylint: disable=comparison-with-itself


def two(value):
    return "" if value != value else f"{value:.2f}" # pylint: disable=comparison-with-itself


CPU_COLUMNS = (
    ("server CPU s per 10k", two, lambda r: 1e4 * r["server_cpu_s"] / max(1, r["cycles"] + r.get("reads", 0))),
    ("server cores", two, lambda r: r["server_cpu_s"] / r["window_s"]),
    ("load cores", two, lambda r: r["load_cpu_s"] / r["window_s"]),
)


def latencies(name, also=()):
    return tuple((f"{text} us", whole, percentile(name, of))
                 for text, of in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999"), *also))


# Workload -> title, columns: heading, format, value of a record.
TABLES = {
    "w1": ("W1 uncontended acquire and release", (
        ("cycles/s", whole, per_s("cycles")), *latencies("acquire", (("p99.99", "p9999"),)), *CPU_COLUMNS,
        ("RSS leader MiB", whole, lambda r: r["rss_mib"][r["leader_index"]]))),
    "w2": ("W2 hand-off, all clients on one key", (
        ("hand-offs/s", whole, per_s("handoffs")), *latencies("handoff"), *CPU_COLUMNS[1:],
        ("re-acquired by the releaser", whole, lambda r: r["reacquires"]))),
    "w3": ("W3 leader killed, 64 clients", (
        ("gap ms", whole, lambda r: r["gap_ms"]), ("median client ms", whole, lambda r: r["client_gap_p50_ms"]),
        ("worst client ms", whole, lambda r: r["client_gap_max_ms"]), ("errors", whole, lambda r: r["errors"]))),
    "w4": ("W4 many locks held", (
        ("locks", whole, lambda r: r["held"]), ("seconds", two, lambda r: r["elapsed_s"]), ("locks/s", whole, per_s("held")),
        ("leader RSS bytes/lock", whole, lambda r: leader_growth(r) / r["held"]),
        ("all nodes RSS bytes/lock", whole, lambda r: growth(r) / r["held"]))),
    "w4m": ("W4m W1 with many locks held", (
        ("locks held", whole, lambda r: r["held_before"]), ("cycles/s", whole, per_s("cycles")), *latencies("acquire"),
        *CPU_COLUMNS)),
    "w5": ("W5 idle sessions", (
        ("leader CPU %", two, lambda r: 100 * r["leader_cpu_s"] / r["window_s"]),
        ("all nodes CPU %", two, lambda r: 100 * r["server_cpu_s"] / r["window_s"]),
        ("load CPU %", two, lambda r: 100 * r["load_cpu_s"] / r["window_s"]),
        ("leader RSS kB/session", two,
         lambda r: leader_growth(r) / r["clients"] / 1000 if "mem_after" in r else float("nan")))),
    "w7": ("W7 status reads", (("reads/s", whole, per_s("reads")), *latencies("read"), *CPU_COLUMNS)),
    "w8": ("W8 mixed", (
        ("cycles/s", whole, per_s("cycles")), *latencies("acquire"), ("hot p50 us", whole, percentile("handoff", "p50")),
        ("hot p99 us", whole, percentile("handoff", "p99")), *CPU_COLUMNS)),
    "w9": ("W9 restart with many locks held", (
        ("in service ms", whole, lambda r: r["in_service_ms"]), ("locks", whole, lambda r: r["held"]),
        ("errors", whole, lambda r: r.get("errors", 0)))),
    "w10": ("W10 snapshots of many locks", (
        ("cycles/s", whole, per_s("cycles")), *latencies("acquire"), ("longest pause of the loop ms", two, lambda r: r["pause_ms"]),
        ("snapshots", whole, lambda r: r["snapshots"]))),
    "w11": ("W11 many sessions expire at once", (
        ("cycles/s", whole, per_s("cycles")), *latencies("acquire"), ("expired", whole, lambda r: r["expired"]),
        ("live sessions lost", whole, lambda r: r["sessions_lost"]))),
}


def spread(records, column):
    values = [column[2](record) for record in records]
    return f"{column[1](min(values))}-{column[1](max(values))}"


def table(workload, groups):
    """Markdown; the first column of numbers also with its range."""
    title, columns = TABLES[workload]
    heads = ["service", "mode", "clients", "n", columns[0][0], "min-max", *[column[0] for column in columns[1:]]]
    lines = [title, "", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for (_, peer, mode, clients), records in groups.items():
        values = [column[1](median(records, column[2])) for column in columns]
        cells = [peer, mode, str(clients), str(len(records)), values[0], spread(records, columns[0]), *values[1:]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables(records):
    groups = grouped(records)
    found = []
    for workload in TABLES:
        rows = {key: value for key, value in groups.items() if key[0] == workload}
        if rows:
            found.append(table(workload, rows))
    return "\n\n".join(found)


# ---- what the machine takes by itself ----

FLOORS = (("write_us", "a durable write of 4 KiB"), ("round_trip_us", "a round trip over loopback"),
          ("replicated_us", "a write that two of three bare processes made durable"))


def floors(records):
    """bench_probe's measurements beside W1 with one client; "" if there are none."""
    found = [record["floor"] for record in records if "floor" in record]
    lines = []
    for name, what in FLOORS:
        values = [one[name] for one in found if name in one]
        if values:
            p50, p99 = ([one[of] for one in values] for of in ("p50", "p99"))
            lines.append(f"| {what} | {len(values)} | {whole(statistics.median(p50))} | {whole(min(p50))}-{whole(max(p50))} "
                         f"| {whole(statistics.median(p99))} |")
    heads = ["What the machine takes by itself", "", "| what | n | p50 us | min-max | p99 us |", "| --- | --- | --- | --- | --- |"]
    return "\n".join(heads + lines) if lines else ""


# ---- ours and theirs ----

CPU_COMPARED = ("CPU of the nodes per cycle", CPU_COLUMNS[0][2], False)
# Workload -> what is compared: heading, value of a record, whether more is better.
COMPARED = {
    "w1": (("cycles/s", per_s("cycles"), True), ("p50", percentile("acquire", "p50"), False),
           ("p99", percentile("acquire", "p99"), False), CPU_COMPARED),
    "w2": (("hand-offs/s", per_s("handoffs"), True), ("p50", percentile("handoff", "p50"), False),
           ("p99", percentile("handoff", "p99"), False)),
    "w3": (("gap", lambda r: r["gap_ms"], False), ("worst client", lambda r: r["client_gap_max_ms"], False)),
    "w4": (("locks/s", per_s("held"), True), ("leader RSS per lock", lambda r: leader_growth(r) / r["held"], False)),
    "w5": (("leader CPU", lambda r: r["leader_cpu_s"] / r["window_s"], False),),
}


def ratio(ours, theirs, better):
    """How many times better ours is, of the medians."""
    above, below = (ours, theirs) if better else (theirs, ours)
    return f"{above / below:.2f}x" if below > 0 else "-"


def comparison(records):
    """How many times better we are than each of the others, in each of its modes; "" if there are no others."""
    groups = grouped(records)
    lines = []
    for (workload, peer, mode, clients), found in groups.items():
        ours = groups.get((workload, "lockstep", "default", clients))
        if peer == "lockstep" or not ours or workload not in COMPARED:
            continue
        values = [f"{what} {ratio(median(ours, value), median(found, value), better)}" for what, value, better in COMPARED[workload]]
        lines.append(f"| {workload} | {clients} | {peer} {mode} | {'; '.join(values)} |")
    heads = ["How many times better Lockstep is, by the medians (below 1: worse)", "",
             "| workload | clients | than | by |", "| --- | --- | --- | --- |"]
    return "\n".join(heads + lines) if lines else ""


def targets(records):
    """Each target beside what was measured; a line each; "" if there is none for what was measured."""
    lines = [f"| {one.workload} | {one.what} | {one.measured} | {one.target} | {one.verdict} |" for one in check(grouped(records))]
    heads = ["Targets", "", "| workload | what | measured | target | |", "| --- | --- | --- | --- | --- |"]
    return "\n".join(heads + lines) if lines else ""


def whole_report(machine_line, records):
    return "\n\n".join(part for part in (machine_line, tables(records), floors(records), comparison(records), targets(records)) if part)
