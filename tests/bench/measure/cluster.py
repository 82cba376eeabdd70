"""Three nodes on this machine's loopback, with their data on a real disk and with default settings."""

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from measure.machine import Failed, end, log, pause, spawn

PREFIX = "lockstep-bench-"
NODES = 3
READY_S = 60
# Below the range that the kernel hands out for connections, so that a port which is free now stays free.
PORTS = range(20000, 32000)
POLL_S = 0.03


def free_ports(count):
    found = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
        if len(found) == count:
            return found
    raise Failed(f"there are no {count} free ports from {PORTS.start} to {PORTS.stop}")


def sweep(data_root):
    """Directories of runs that were killed: whoever still runs holds a lock on a file in his."""
    for name in os.listdir(data_root):
        owner = os.path.join(data_root, name, "owner")
        if name.startswith(PREFIX) and os.path.exists(owner):
            with open(owner, "a", encoding="ascii") as file, contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                log(f"removing {os.path.dirname(owner)}, which an earlier run left")
                shutil.rmtree(os.path.dirname(owner), ignore_errors=True)


class Node:
    def __init__(self, number, client_port, peer_port):
        self.number = number
        self.address = f"127.0.0.1:{client_port}"
        self.peer_address = f"127.0.0.1:{peer_port}"
        self.process = None
        self.log = None
        self.started_ns = 0

    @property
    def pid(self):
        return self.process.pid


class Cluster:
    """Use it in a with statement: its end ends the nodes and removes their data."""

    def __init__(self, arguments, settings=None):
        self.bin = arguments.bin
        self.data_root = arguments.data_root
        self.settings = settings or {}
        self.directory = self.owner = None
        self.nodes = []

    def __enter__(self):
        sweep(self.data_root)
        self.directory = tempfile.mkdtemp(prefix=PREFIX, dir=os.path.abspath(self.data_root))
        # pylint: disable=consider-using-with
        self.owner = open(os.path.join(self.directory, "owner"), "w", encoding="ascii")
        fcntl.flock(self.owner, fcntl.LOCK_EX)
        try:
            ports = free_ports(2 * NODES)
            self.nodes = [Node(i + 1, ports[2 * i], ports[2 * i + 1]) for i in range(NODES)]
            for node in self.nodes:
                self.boot(node)
            self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            if node.process:
                end(node.process, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.owner.close()

    @property
    def endpoints(self):
        return ",".join(node.address for node in self.nodes)

    # ---- nodes ----

    def boot(self, node):
        node.log = os.path.join(self.directory, f"n{node.number}.log")
        peers = ",".join(f"{one.number}={one.peer_address}/{one.address}" for one in self.nodes)
        settings = {"node-id": node.number, "cluster": "bench", "data-dir": os.path.join(self.directory, f"n{node.number}"),
                    "listen": node.address, "peer-listen": node.peer_address, "peers": peers, **self.settings}
        command = [os.path.join(self.bin, "lockstepd")] + [f"--{name}={value}" for name, value in settings.items()]
        with open(node.log, "ab") as file:
            node.started_ns = time.monotonic_ns()
            node.process = spawn(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file)

    def kill(self, node):
        end(node.process, signal.SIGKILL)

    def last_words(self, node):
        with open(node.log, encoding="utf-8", errors="replace") as file:
            return (file.read().splitlines() or [""])[-1]

    # ---- what it says of itself ----

    def status(self):
        """The answer of `lockstep cluster status`, its nodes by number; None if no node answers."""
        command = [os.path.join(self.bin, "lockstep"), "-e", self.endpoints, "-o", "json", "--timeout=2s", "cluster", "status"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if result.returncode != 0:
            return None
        status = json.loads(result.stdout)
        by_address = {node.address: node.number for node in self.nodes}
        status["nodes"] = {by_address[node["address"]]: node for node in status["nodes"] if node["address"] in by_address}
        return status

    def leader(self):
        status = self.status() or {"nodes": {}}
        leaders = [(node["term"], number) for number, node in status["nodes"].items() if node.get("is_leader")]
        return self.nodes[max(leaders)[1] - 1] if leaders else None

    def wait_for(self, condition, what, patience_s=READY_S):
        """Poll the status until condition(status) holds; that status."""
        limit = time.monotonic() + patience_s
        while time.monotonic() < limit:
            for node in self.nodes:
                if node.process.poll() is not None and node.process.returncode != -signal.SIGKILL:
                    raise Failed(f"node {node.number} has ended: {self.last_words(node)}")
            status = self.status()
            if status and condition(status):
                return status
            pause(POLL_S)
        raise Failed(f"{what}: not within {patience_s} s")

    def wait_ready(self):
        """All nodes answer, one leads, and none lags behind what was committed when we asked."""
        def ready(status):
            nodes = status["nodes"].values()
            return (len(nodes) == NODES and all(node["reachable"] for node in nodes) and
                    any(node["is_leader"] for node in nodes) and len({node["term"] for node in nodes}) == 1)
        self.wait_for(ready, "the cluster is not ready")

    def version(self):
        result = subprocess.run([os.path.join(self.bin, "lockstepd"), "--version"], capture_output=True, text=True, check=False)
        return result.stdout.strip().split("\n")[0]
