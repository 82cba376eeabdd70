"""Where the processes of a run live: each host a network namespace, joined by veth pairs to one bridge in the namespace
of the run itself, which is the switch. Messages are cut by nft rules at the switch, so that neither end is told.

Without the right to make namespaces: Loopback, where everybody is on 127.0.0.1 and nothing can be cut."""

import os
import random
import subprocess

NAMESPACES = "/run/netns"
BRIDGE = "switch"
CLIENT_PORT = 7400
PEER_PORT = 7500


def run(*command, text=None):
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """`cuts` has, by the name of the fault, the pairs (from, to) of hosts between which nothing passes."""

    can_cut = True

    def __init__(self):
        # Of this mount namespace alone; also where /run is not ours to write to.
        run("mount", "-t", "tmpfs", "none", "/run")
        os.makedirs(NAMESPACES)
        run("ip", "-batch", "-", text=f"link set lo up\nlink add {BRIDGE} type bridge\nlink set {BRIDGE} up\n")
        self.hosts = {}
        self.cuts = {}

    def add_host(self, name):
        address = f"10.87.0.{len(self.hosts) + 1}"
        run("ip", "netns", "add", name)
        run("ip", "-batch", "-", text=f"link add {name} type veth peer name eth0 netns {name}\n"
            f"link set {name} master {BRIDGE} up\n")
        run("ip", "-n", name, "-batch", "-", text=f"addr add {address}/24 dev eth0\nlink set eth0 up\nlink set lo up\n")
        self.hosts[name] = address

    def endpoints(self, name):
        """(for the nodes, for the clients)"""
        return f"{self.hosts[name]}:{PEER_PORT}", f"{self.hosts[name]}:{CLIENT_PORT}"

    def inside(self, name):
        """What goes before a command that is to run on this host; the process keeps its pid."""
        return ["nsenter", f"--net={NAMESPACES}/{name}", "--"]

    def cut(self, fault, pairs):
        self.cuts[fault] = frozenset(pairs)
        self._apply()

    def heal(self, fault):
        if self.cuts.pop(fault, None) is not None:
            self._apply()

    def _apply(self):
        run("nft", "-f", "-", text=ruleset(frozenset().union(*self.cuts.values())))


def ruleset(pairs):
    """All rules anew, in one transaction: there is no moment with a half of a partition."""
    lines = ["table bridge torture", "delete table bridge torture", "table bridge torture {", "  chain cut {",
             "    type filter hook forward priority 0; policy accept;"]
    for source in sorted({source for source, _ in pairs}):
        targets = ", ".join(f'"{target}"' for begin, target in sorted(pairs) if begin == source)
        lines.append(f'    iifname "{source}" oifname {{ {targets} }} drop')
    return "\n".join(lines + ["  }", "}"]) + "\n"


class Loopback:
    """The faults that need no namespace remain: kill, stop, disk, clocks."""

    can_cut = False

    def __init__(self):
        self.ports = {}
        # Below the range that the kernel hands out for connections.
        self.free = iter(random.SystemRandom().sample(range(20000, 32000), 64))

    def add_host(self, name):
        self.ports[name] = (next(self.free), next(self.free))

    def endpoints(self, name):
        peer, client = self.ports[name]
        return f"127.0.0.1:{peer}", f"127.0.0.1:{client}"

    def inside(self, _name):
        return []

    def heal(self, _fault):
        pass
