"""What a run must notice, done on purpose (--plant): to see that it does. They are spread over the run's time."""

import os
import signal

from nemesis.partitions import between


def abort(world):
    """An assertion that fails."""
    world.nodes[0].process.signal(signal.SIGABRT)


def report(world):
    """What a sanitizer says of a process that goes on."""
    with open(world.nodes[0].process.log, "a", encoding="ascii") as log:
        log.write("planted.c:1:2: runtime error: planted\n")


def rot(world):
    """A node that finds what it has acknowledged damaged."""
    node = world.nodes[0]
    node.hold("plant")
    node.kill()
    world.loop.wait(10, lambda: not node.process.runs())
    folder = os.path.join(node.disk.directory, "data", "log")
    for name in os.listdir(folder):
        if name.endswith(".seg"):
            with open(os.path.join(folder, name), "r+b") as file:
                file.seek(64)
                file.write(bytes(65536))
    node.let_go("plant")


def unhealed(world):
    """A partition that nobody heals: no progress where it is due."""
    names = [process.name for process in world.nodes]
    world.network.cut("plant", between(names, names))


def client(world):
    """A client that ends by itself."""
    world.loads[0].process.signal(signal.SIGABRT)


PLANTS = {plant.__name__: plant for plant in (abort, report, rot, unhealed, client)}

# What the run says of each.
NOTICED = {"abort": "was ended by SIGABRT", "report": "n1 reported: ", "rot": "ended with exit code 7",
           "unhealed": "within 60 s of the heal", "client": "the load c1 was ended by SIGABRT"}
