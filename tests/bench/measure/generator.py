"""One run of the load generator, with the nodes sampled when it says START and STOP."""

import json
import os
import signal
import subprocess
import threading
import time

from measure.machine import Failed, busy_s, cpu_of, end, memory_of, pause, spawn

SETTLE_S = 1 # before memory is read
LIMIT_S = 85 # of one run, besides its measured time
TTL_MS = 10000


def sample(cluster, generator):
    return {"t": time.monotonic(), "load": cpu_of(generator.pid), "busy": busy_s(),
            "cpu": [cpu_of(node.pid) for node in cluster.nodes], "memory": memories(cluster)}


def memories(cluster):
    return [memory_of(node.pid) for node in cluster.nodes]


def command_of(cluster, arguments, workload, clients, options):
    values = {"endpoints": cluster.endpoints, "workload": workload, "clients": clients, "seconds": arguments.seconds,
              "warmup": arguments.warmup, "ttl-ms": TTL_MS, "locks": arguments.locks, "window": arguments.window,
              "connections": arguments.connections, "processes": arguments.processes, "seed": arguments.seed, "histogram": 1}
    if workload in ("w2", "w3"):
        values["processes"] = 1
    values.update(options)
    command = [os.path.join(cluster.bin, "bench_load")]
    for name, value in values.items():
        command += [f"--{name}", str(value)]
    return command


def follow(cluster, generator, workload, settle_s, after_start):
    """Read what the generator says; its result and the two samples."""
    first = last = result = before = None
    if workload == "w5":
        before = memories(cluster)
    for line in generator.stdout:
        line = line.strip()
        if line == "READY" and workload == "w4":
            pause(settle_s)
            before = memories(cluster)
        elif line == "START":
            first = sample(cluster, generator)
            if after_start:
                threading.Thread(target=after_start, daemon=True).start()
        elif line == "STOP":
            last = sample(cluster, generator)
        elif line.startswith("{"):
            result = json.loads(line)
            if before:
                if workload == "w4":
                    pause(2 * settle_s)
                result["mem_before"], result["mem_after"] = before, memories(cluster)
            break
    return first, last, result


def measure(cluster, arguments, workload, clients, after_start=None, **options):
    """The record of one run, with the fields of the benchmark of the other services."""
    options = {name.replace("_", "-"): value for name, value in options.items()}
    leader = cluster.leader()
    if leader is None:
        raise Failed("no node leads")
    index = cluster.nodes.index(leader)
    command = command_of(cluster, arguments, workload, clients, options)
    with open(os.path.join(cluster.directory, "load.err"), "w+", encoding="utf-8") as errors:
        generator = spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        watchdog = threading.Timer(LIMIT_S + float(options.get("seconds", arguments.seconds)), generator.kill)
        watchdog.start()
        try:
            first, last, result = follow(cluster, generator, workload, min(SETTLE_S, arguments.seconds), after_start)
            generator.stdin.close()
            generator.wait(LIMIT_S)
        finally:
            watchdog.cancel()
            end(generator, signal.SIGKILL)
        errors.seek(0)
        said = errors.read()[-400:].strip()
    if not (first and last and result):
        raise Failed(f"the load generator gave no result: {said}")
    if generator.returncode != 0:
        raise Failed(f"the load generator ended with {generator.returncode}: {said}")
    if said:
        result["said"] = said
    return complete(result, first, last, index)


def complete(result, first, last, leader_index):
    servers = sum(last["cpu"]) - sum(first["cpu"])
    load, busy = last["load"] - first["load"], last["busy"] - first["busy"]
    result.update(
        server_cpu_s=round(servers, 2), leader_cpu_s=round(last["cpu"][leader_index] - first["cpu"][leader_index], 2),
        load_cpu_s=round(load, 2), machine_busy_s=round(busy, 2), window_s=round(last["t"] - first["t"], 3),
        other_cpu_s=round(busy - servers - load, 2),
        rss_mib=[round(memory.get("VmRSS", 0) / 2**20, 1) for memory in last["memory"]], leader_index=leader_index)
    return result


def disturbed(record):
    """Whether something else used more than six hundredths of the machine meanwhile; asked where speed is measured."""
    return (record["workload"] in ("w1", "w2") and
            record["machine_busy_s"] - record["server_cpu_s"] - record["load_cpu_s"] >
            0.06 * os.cpu_count() * record["window_s"])
