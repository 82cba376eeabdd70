"""Throws garbage at a node's client port: random bytes, huge lengths, cut frames, wrong magic, slow and idle connections.

usage: garbage.py HOST:PORT PID SEED COMMAND...

COMMAND must succeed while a thousand idle connections are open; the memory of PID must stay bounded.
"""
import random
import socket
import struct
import subprocess
import sys

# Bytes of resident memory that the garbage may cost: 1,000 idle connections at 10 kB, twice that for luck; under the
# address sanitizer freed memory is kept back, up to a quarter of a gigabyte.
GROWTH_MAX = 20_000_000
GROWTH_MAX_SANITIZED = 300_000_000


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
    raise SystemExit("the node has gone")


def sanitized(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
        return "libasan" in maps.read()


def hello():
    body = b"\x95\xa8LOCKSTEP" + b"\x01\x01\x00" + b"\xa1x"
    return struct.pack("<IB", len(body) + 1, 0) + body


def garbage(chance):
    kind = chance.randrange(6)
    noise = chance.randbytes(chance.randint(1, 3000))
    if kind == 0:
        return noise
    if kind == 1:
        return struct.pack("<I", chance.choice([0, 1, 2**31, 2**32 - 1, 2_000_000])) + noise
    if kind == 2:
        return hello()[: chance.randint(1, len(hello()) - 1)]
    if kind == 3:
        return hello().replace(b"LOCKSTEP", b"LOCKSTEQ")
    if kind == 4:
        return hello() + struct.pack("<IB", len(noise) + 1, 0) + noise
    return hello() + struct.pack("<IB", len(noise) + 1, 1) + noise


def throw(address, payload):
    with socket.create_connection(address, timeout=10) as connection:
        try:
            connection.sendall(payload)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except (ConnectionError, OSError):
            pass  # the node closed it first, as it may


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    address = (host, int(port))
    pid, seed, command = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    chance = random.Random(seed)
    before = resident(pid)
    for _ in range(600):
        throw(address, garbage(chance))
    idle = [socket.create_connection(address, timeout=10) for _ in range(1000)]
    for connection in idle[::2]:
        connection.sendall(hello()[:3])
    served = subprocess.run(command, check=False).returncode
    grown = resident(pid) - before
    for connection in idle:
        connection.close()
    limit = GROWTH_MAX_SANITIZED if sanitized(pid) else GROWTH_MAX
    print(f"  seed {seed}: the node grew by {grown} bytes, allowed are {limit}")
    if served != 0:
        raise SystemExit(f"the node did not serve beside the garbage (exit code {served})")
    if grown > limit:
        raise SystemExit("the node's memory is not bounded")


main()
