"""The end of a run: everything is healed, every key must be granted again, the load leaves, and the histories are judged."""

import os
import re
import shutil
import signal
import subprocess

from nemesis.clients import LEAVE_S
from nemesis.clock import PPM, RATE_HIGH, RATE_LOW
from nemesis.nodes import TERM_S, leader

HEALED_S = 60
PROGRESS_S = 60
FINAL_S = 60
# A dead client's locks must be free by so long after their leases.
MARGIN_S = 5
# Of so many faults one at least meets a node that writes.
REACHES_ONE_OF = 3
TORN_BYTES_MAX = 1 << 20 # the longest line that the judge reads

GRANT = re.compile(rb':type :ok :f :acquire .*?:key "([^"]*)"')
LINE = re.compile(rb":type :(\w+) :f :([\w-]+)")


class Tail:
    """What was added to a history since the last look, in whole lines."""

    def __init__(self, path):
        self.path = path
        self.offset = os.path.getsize(path) if os.path.exists(path) else 0

    def read(self):
        if not os.path.exists(self.path):
            return b""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            text = file.read()
        whole = text[:text.rfind(b"\n") + 1]
        self.offset += len(whole)
        return whole


def heal(world, storm):
    """From here on nothing may be wrong: every node runs and one leads."""
    storm.end_all()
    for node in world.nodes:
        node.disk.heal()
        node.disk.faulty.clear()
        node.held.clear()
        node.process.resume()
        if not node.process.runs() and not node.broken:
            node.start_soon()
    for load in world.loads:
        load.resume()
    nodes = [node for node in world.nodes if not node.broken]
    loads = [load for load in world.loads if not load.broken]

    def missing():
        return [node.name for node in nodes if not node.process.runs()] + [load.name for load in loads if not load.acts()]

    if not world.loop.wait(HEALED_S, lambda: not missing()):
        down = missing()
        world.violation(f"{', '.join(down)} did not come back within {HEALED_S} s of the heal")
    if not world.loop.wait(HEALED_S, lambda: leader(world.nodes) is not None):
        world.violation(f"no leader within {HEALED_S} s of the heal", world.nodes[0].process.tail())
    world.history.write("heal")
    for load in world.loads:
        load.process.signal(signal.SIGUSR1)


def demand_progress(world):
    """Every key is granted to somebody."""
    granted = set()
    tails = [Tail(load.histories[-1]) for load in world.loads if load.histories]

    def all_granted():
        for tail in tails:
            granted.update(GRANT.findall(tail.read()))
        return len(granted) >= world.keys

    begun = world.loop.now()
    if not world.loop.wait(PROGRESS_S, all_granted):
        world.violation(f"only {len(granted)} of {world.keys} keys were granted within {PROGRESS_S} s of the heal")
    # So long that whatever dead clients had must have ended when it is read at the end.
    calm = world.ttl_ms / 1000 / RATE_LOW + MARGIN_S + 1
    world.loop.run_for(max(0.0, begun + calm - world.loop.now()))


def leave(world):
    for load in world.loads:
        load.leave()
    if not world.loop.wait(LEAVE_S, lambda: not any(load.process.runs() for load in world.loads)):
        for load in world.loads:
            if load.process.runs():
                world.violation(f"the load {load.name} did not leave within {LEAVE_S} s of SIGTERM", load.process.tail())


def final_reads(world):
    """What is left of each lock, when nobody wants any more."""
    path = os.path.join(world.directory, "final.edn")
    command = world.network.inside(world.loads[0].name) + [
        world.load, "--final", "--endpoints", world.endpoints, "--keys", str(world.keys), "--history", path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FINAL_S, check=False)
        if done.returncode != 0:
            world.violation(f"the final reads ended with {done.returncode}", done.stdout + done.stderr)
    except subprocess.TimeoutExpired:
        world.violation(f"the final reads took longer than {FINAL_S} s")
    return path


def stop_nodes(world):
    world.ending = True
    for node in world.nodes:
        node.terminate()
    world.loop.wait(TERM_S + 5, lambda: not any(node.process.runs() for node in world.nodes))


def look_at_logs(world):
    """What a sanitizer or an assertion says and the exit code did not."""
    for process in world.nodes + world.loads:
        line = process.process.reported()
        if line is not None:
            world.violation(f"{process.name} reported: {line}", process.process.tail())


def look_at_disks(world, storm):
    """A fault that reached no call was none: then disk_faults.c does not stand before the calls by which nodes write."""
    for fault, reached in (("disk-slow", "delayed"), ("disk-fail", "failed")):
        if storm.drawn.get(fault, 0) >= REACHES_ONE_OF and not any(node.disk.get(reached) for node in world.nodes):
            world.violation(f"{fault} was drawn {storm.drawn[fault]} times, and no call of any node was {reached}")


def joined(load):
    """The histories of a load's lives as one, in its home: the judge takes a bounded number of files, and a long run has had
    many lives. Each was over before the next began; of a line that its end has torn nothing is left."""
    path = os.path.join(load.home, "history.edn")
    with open(path, "wb") as out:
        for history in load.histories:
            if os.path.exists(history):
                with open(history, "rb") as file:
                    shutil.copyfileobj(file, out)
                tear(out)
                os.unlink(history)
    return path


def tear(out):
    """Take back what stands behind the last line's end."""
    out.flush()
    end = os.path.getsize(out.name)
    with open(out.name, "rb") as file:
        file.seek(max(0, end - TORN_BYTES_MAX))
        rest = file.read()
    out.truncate(end - len(rest) + rest.rfind(b"\n") + 1)
    out.seek(0, os.SEEK_END)


def judge(world, histories, arguments):
    summary = os.path.join(world.directory, "summary.txt")
    svg = os.path.join(world.directory, "svg")
    os.makedirs(svg, exist_ok=True)
    drift = (RATE_HIGH - 1) * PPM if world.has("clock-rate") else 0
    command = [world.judge, "--svg", svg, "--summary", summary, "--margin-ms", str(MARGIN_S * 1000),
               "--drift-ppm", str(round(drift) + 1000)] + histories
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=arguments.judge_seconds)
    print(done.stdout + done.stderr, end="", flush=True)
    if done.returncode != 0:
        world.violation(f"the judge rejects the history (exit code {done.returncode})",
                        f"{summary}\n{svg}/ has a picture of each key that is concerned")


def count(histories):
    """{(type, f): lines} over all files."""
    counts = {}
    for path in histories:
        with open(path, "rb") as file:
            for line in file:
                found = LINE.search(line)
                if found:
                    key = (found.group(1).decode(), found.group(2).decode())
                    counts[key] = counts.get(key, 0) + 1
    return counts


def table(world, storm, counts, seconds):
    names = sorted({f for kind, f in counts if kind == "invoke"})
    total = sum(number for (kind, f), number in counts.items() if kind in ("ok", "fail"))
    unknown = sum(counts.get(("info", f), 0) for f in names)
    grants = counts.get(("ok", "acquire"), 0)
    rows = [f"{total} operations completed, {unknown} with an unknown end, {grants} grants, in {seconds:.0f} s "
            f"({total / max(seconds, 1):.0f}/s)"]
    for f in names:
        known = "  ".join(f"{kind} {counts.get((kind, f), 0)}" for kind in ("ok", "fail", "info"))
        rows.append(f"  {f:<10} {known}")
    rows.append("faults: " + (", ".join(f"{name} {number}" for name, number in sorted(storm.drawn.items())) or "none"))
    events = ("node-ended", "kill", "terminate", "crash", "pause")
    rows.append("events: " + ", ".join(f"{name} {world.history.counts.get(name, 0)}" for name in events))
    rows.append(f"violations: {sum(world.violations.values())}")
    rows += [f"  {what}" + (f" ({number} times)" if number > 1 else "") for what, number in world.violations.items()]
    return "\n".join(rows), total
