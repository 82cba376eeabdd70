"""The records of a run and where they came from; written to a file after each, so that a run that ends early loses none."""

import json
import os

from measure import machine
from measure.cluster import Cluster


def brief(record):
    """A record in a few words, for whoever watches."""
    workload, seconds = record["workload"], record["elapsed_s"]
    if workload in ("w1", "w4m", "w8", "w10", "w11"):
        acquire = record["acquire_us"]
        extra = f" pause {record['pause_ms']:.1f} ms" if "pause_ms" in record else ""
        return (f"{record['cycles'] / seconds:.0f}/s p50 {acquire['p50']:.0f} p99 {acquire['p99']:.0f} p99.9 {acquire['p999']:.0f} us, "
                f"cpu nodes {record['server_cpu_s']} load {record['load_cpu_s']} s{extra}")
    if workload == "w2":
        handoff = record["handoff_us"]
        return f"{record['handoffs'] / seconds:.0f}/s p50 {handoff['p50']:.0f} p99 {handoff['p99']:.0f} us"
    if workload == "w3":
        return (f"gap {record['gap_ms']:.0f} ms from {record['gap_after_kill_ms']:+.0f} ms of the kill, worst client "
                f"{record['client_gap_max_ms']:.0f} ms, errors {record['errors']}")
    if workload == "w4":
        return f"{record['held']} in {seconds:.2f} s"
    if workload == "w7":
        return f"{record['reads'] / seconds:.0f}/s p50 {record['read_us']['p50']:.0f} p99 {record['read_us']['p99']:.0f} us"
    if workload == "w9":
        return f"in service after {record['in_service_ms']:.0f} ms"
    return f"leader {100 * record['leader_cpu_s'] / record['window_s']:.1f} % of a core"


class Results:
    def __init__(self, arguments=None):
        self.path = arguments.json if arguments else None
        self.machine = machine.describe()
        self.versions = {}
        self.records = []
        if arguments:
            self.machine.update(seconds=arguments.seconds, reps=arguments.reps)
            self.versions["lockstep"] = Cluster(arguments).version()
            if arguments.append and os.path.exists(self.path):
                self.take(self.path)

    @classmethod
    def load(cls, paths):
        results = cls()
        for path in paths:
            results.take(path)
        return results

    def take(self, path):
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        self.machine = found["machine"]
        self.versions.update(found["versions"])
        self.records += found["records"]

    def add(self, record, tell=True):
        self.records.append(record)
        if tell:
            machine.log(record["workload"], record["peer"], record["mode"], f"C={record['clients']} rep={record['rep']}",
                        brief(record))
        if "said" in record:
            machine.log("the load generator said:", record["said"])
        self.save()

    def save(self):
        if self.path:
            with open(self.path + ".tmp", "w", encoding="utf-8") as file:
                json.dump({"machine": self.machine, "versions": self.versions, "records": self.records}, file)
            os.replace(self.path + ".tmp", self.path)

    def machine_line(self):
        known = self.machine
        versions = "; ".join(f"{name}: {version}" for name, version in sorted(self.versions.items()))
        memory = f", {known['memory_mib']} MiB" if "memory_mib" in known else ""
        return (f"{known.get('model') or 'a machine'} with {known['cpus']} processors{memory}, Linux {known['kernel']}, "
                f"{known['date']}. {versions}.")
