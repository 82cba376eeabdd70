"""The kinds of faults. Each is a class: begin() does it to the world and writes it to the history, end() undoes it; both are
called once. Between them it may do more, by the loop. FAULTS has them by name."""

import errno

from nemesis import clock, partitions
from nemesis.nodes import leader

FAULTS = {}


def fault(name):
    def register(cls):
        cls.name = name
        FAULTS[name] = cls
        return cls
    return register


class Fault:
    """`seconds` is how long it lasts, as the storm has drawn it."""

    needs_network = False

    def __init__(self, world, rng, seconds):
        self.world = world
        self.rng = rng
        self.seconds = seconds
        self.later = []
        self.key = f"{self.name}-{world.next_fault()}"

    @classmethod
    def possible(cls, world):
        """None, or why not."""
        if cls.needs_network and not world.network.can_cut:
            return "needs network namespaces"
        return None

    def write(self, name, **value):
        self.world.history.write(name, fault=self.key, **value)

    def after(self, seconds, function):
        self.later.append(self.world.loop.after(seconds, function))

    def cancel(self):
        for due in self.later:
            due.cancel()

    def some_nodes(self, count):
        """So many, the leader more often than its share."""
        nodes = self.rng.sample(self.world.nodes, count)
        first = leader(self.world.nodes)
        if first is not None and first not in nodes and self.rng.random() < 0.5:
            nodes[0] = first
        return nodes

    def minority(self):
        return self.some_nodes(self.rng.randint(1, (len(self.world.nodes) - 1) // 2))

    def any_count(self):
        """A minority mostly, sometimes all."""
        return self.world.nodes[:] if self.rng.random() < 0.25 else self.minority()


def numbers(nodes):
    return [node.number for node in nodes]


# ---- the network ----

class Partition(Fault):
    needs_network = True
    shape = None
    aims_at_leader = False

    def pairs(self):
        nodes = [node.name for node in self.world.nodes]
        clients = [load.name for load in self.world.loads]
        first = leader(self.world.nodes) if self.aims_at_leader and self.rng.random() < 0.7 else None
        if self.aims_at_leader:
            return type(self).shape(self.rng, nodes, clients, first.name if first else None)
        return type(self).shape(self.rng, nodes, clients)

    def begin(self):
        pairs = self.pairs()
        self.write(f"start-{self.name}", cut=[f"{source}>{target}" for source, target in sorted(pairs)])
        self.world.network.cut(self.key, pairs)

    def end(self):
        self.world.network.heal(self.key)
        self.write(f"stop-{self.name}")


def partition(name, shape, aims_at_leader=False):
    """A cut of one shape, from the fault's beginning to its end."""
    fault(name)(type(name, (Partition,), {"shape": staticmethod(shape), "aims_at_leader": aims_at_leader}))


partition("partition-halves", partitions.halves)
partition("partition-one-way", partitions.one_way)
partition("partition-bridge", partitions.bridge)
partition("partition-ring", partitions.ring)
partition("partition-node", partitions.isolated, aims_at_leader=True)
partition("partition-clients", partitions.clients_cut, aims_at_leader=True)


@fault("partition-flaps")
class PartitionFlaps(Partition):
    """A cut that comes and goes, faster than anybody gives up."""
    shape = staticmethod(partitions.isolated)
    aims_at_leader = True

    def begin(self):
        self.cut = self.pairs()
        self.on = False
        self.write(f"start-{self.name}", cut=[f"{source}>{target}" for source, target in sorted(self.cut)])
        self.flap()

    def flap(self):
        self.on = not self.on
        if self.on:
            self.world.network.cut(self.key, self.cut)
        else:
            self.world.network.heal(self.key)
        self.after(self.rng.uniform(0.05, 0.8), self.flap)


# ---- processes that end ----

@fault("kill")
class Kill(Fault):
    """kill -9 of a minority, or of all nodes at once as a power cut would; they stay down for the fault's time."""

    def begin(self):
        self.victims = self.any_count()
        self.write("start-kill", nodes=numbers(self.victims))
        for node in self.victims:
            node.hold(self.key)
        for node in self.victims:
            node.kill()

    def end(self):
        self.write("stop-kill", nodes=numbers(self.victims))
        for node in self.victims:
            node.let_go(self.key)


@fault("kill-leader")
class KillLeader(Fault):
    """The leader of the moment, again and again; each comes back by itself."""

    def begin(self):
        self.write("start-kill-leader")
        self.strike()

    def strike(self):
        node = leader(self.world.nodes)
        if node is not None:
            self.write("kill", nodes=[node.number])
            node.kill()
        self.after(self.rng.uniform(0.5, 3.0), self.strike)

    def end(self):
        self.write("stop-kill-leader")


@fault("restart-storm")
class RestartStorm(Fault):
    """Every node is killed whenever a short time has passed: many do not live to see a leader."""

    def begin(self):
        self.victims = self.any_count()
        self.write("start-restart-storm", nodes=numbers(self.victims))
        for node in self.victims:
            self.strike(node)

    def strike(self, node):
        node.kill()
        self.after(self.rng.choice((0.4, 0.8, 1.5, 3.0)) * self.rng.uniform(0.8, 1.5), lambda: self.strike(node))

    def end(self):
        self.write("stop-restart-storm")


@fault("transfer")
class Transfer(Fault):
    """SIGTERM: the leader hands over and ends; or all nodes in turn, as an upgrade does."""

    def begin(self):
        rolling = self.rng.random() < 0.4
        self.order = self.rng.sample(self.world.nodes, len(self.world.nodes)) if rolling else []
        self.write("start-transfer", rolling=rolling)
        self.step(rolling)

    def step(self, rolling):
        node = (self.order.pop() if self.order else None) if rolling else leader(self.world.nodes)
        if node is not None and node.process.runs():
            self.write("terminate", nodes=[node.number])
            node.terminate()
        self.after(self.rng.uniform(0.8, 2.5), lambda: self.step(rolling))

    def end(self):
        self.write("stop-transfer")


@fault("stop")
class Stop(Fault):
    """SIGSTOP of some nodes, for less or more than an election and a lease; then SIGCONT."""

    def begin(self):
        self.victims = [node for node in self.any_count() if node.process.runs() and not node.process.paused]
        self.write("start-stop", nodes=numbers(self.victims))
        for node in self.victims:
            node.process.pause()

    def end(self):
        for node in self.victims:
            node.process.resume()
        self.write("stop-stop", nodes=numbers(self.victims))


# ---- disks ----

class DiskFault(Fault):
    def begin(self):
        self.victims = self.any_count()
        self.write(f"start-{self.name}", nodes=numbers(self.victims), **self.details())
        for node in self.victims:
            node.disk_fault(self.key)
            self.break_disk(node)

    def details(self):
        return {}

    def end(self):
        for node in self.victims:
            self.mend_disk(node)
            node.mended(self.key)
        self.write(f"stop-{self.name}", nodes=numbers(self.victims))


@fault("disk-full")
class DiskFull(DiskFault):
    """A balloon fills the node's own small file system; where there is none, every call that takes space says ENOSPC."""

    def break_disk(self, node):
        if node.disk.own_file_system:
            node.disk.fill()
        else:
            node.disk.set(write_errno=errno.ENOSPC, allocate_errno=errno.ENOSPC)

    def mend_disk(self, node):
        node.disk.empty()
        node.disk.set(write_errno=0, allocate_errno=0)


@fault("disk-slow")
class DiskSlow(DiskFault):
    """Writes and syncs take so much longer; sometimes longer than an election, sometimes they hang for all of the time."""

    def details(self):
        self.sync_ms = self.rng.choice((20, 100, 400, 1500, 15000))
        self.write_ms = self.rng.choice((0, 0, 10, 100))
        return {"sync_ms": self.sync_ms, "write_ms": self.write_ms}

    def break_disk(self, node):
        node.disk.set(sync_delay_us=1000 * self.sync_ms, write_delay_us=1000 * self.write_ms)

    def mend_disk(self, node):
        node.disk.set(sync_delay_us=0, write_delay_us=0)


@fault("disk-fail")
class DiskFail(DiskFault):
    """A sync, a write in its middle, or a reservation fails: the node must end, and know what it has when it is back."""

    def details(self):
        self.call = self.rng.choice(("sync_errno", "sync_errno", "write_errno", "allocate_errno"))
        self.error = errno.ENOSPC if self.call == "allocate_errno" else errno.EIO
        return {"call": self.call.removesuffix("_errno"), "error": errno.errorcode[self.error]}

    def break_disk(self, node):
        node.disk.set(**{self.call: self.error})

    def mend_disk(self, node):
        node.disk.set(**{self.call: 0})


# ---- clocks ----

@fault("clock-rate")
class ClockRate(Fault):
    """Clocks of nodes change their speed, also in the middle of a lease. What they have at the end, they keep."""

    def begin(self):
        self.write("start-clock-rate")
        self.change()

    def change(self):
        node = self.rng.choice(self.world.nodes)
        rate = clock.draw_rate(self.rng)
        self.write("clock-rate", nodes=[node.number], rate=rate)
        node.clock.run_at(rate)
        self.after(self.rng.uniform(0.2, 2.0), self.change)

    def end(self):
        self.write("stop-clock-rate")


@fault("clock-jump")
class ClockJump(Fault):
    """Wall clocks of nodes and clients jump, forwards and backwards, by up to days, and back at the end."""

    def begin(self):
        self.write("start-clock-jump")
        self.jump()

    def jump(self):
        process = self.rng.choice(self.world.nodes + self.world.loads)
        seconds = self.rng.choice((1, -1)) * self.rng.choice((1, 10, 3600, 200000))
        self.write("clock-jump", host=process.name, seconds=seconds)
        process.clock.jump_to(seconds)
        self.after(self.rng.uniform(0.1, 1.0), self.jump)

    def end(self):
        for process in self.world.nodes + self.world.loads:
            process.clock.jump_to(0)
        self.write("stop-clock-jump")


# ---- clients ----

@fault("client-crash")
class ClientCrash(Fault):
    """kill -9 of a process of the load, whatever it holds; a fresh one follows."""

    def begin(self):
        load = self.rng.choice(self.world.loads)
        self.write("start-client-crash", host=load.name)
        if self.world.has("clock-rate"):
            load.next_rate = clock.draw_rate(self.rng)
        load.crash()

    def end(self):
        self.write("stop-client-crash")


@fault("client-pause")
class ClientPause(Fault):
    """SIGSTOP of a process of the load, mostly for longer than its leases."""

    def begin(self):
        self.load = self.rng.choice(self.world.loads)
        self.write("start-client-pause", host=self.load.name)
        self.load.pause()

    def end(self):
        self.load.resume()
        self.write("stop-client-pause")
