#!/usr/bin/env python3
"""Random histories of a small lock service in memory: those of a correct one are accepted, and those of each broken one rejected.

usage: random_test.py PATH/torture_judge [--seed N] [--runs N] [--operations N] [--keep FILE]

The service runs in simulated time, with clients that wait, hold, extend, read, lose replies, are stopped and die, and with a leader
that stands still at times. It was written for this test alone; what it breaks is named in BREAKS, with the rules of which at
least one must notice. The seed of a failure is printed; --keep leaves its history in a file.
"""

import argparse
import heapq
import os
import random
import subprocess
import sys
import tempfile

MS = 1_000_000
TTL_MS = 2000
DRIFT = 0.001
SLACK_MS = 5
TRIES = 8

# what is broken: the rules that may notice it
BREAKS = {
    "grants to two": {"exclusion", "deadline"},
    "ignores the limit": {"permits"},
    "gives tokens twice": {"once"},
    "gives tokens that fall": {"order"},
    "gives each reader its own fence": {"order"},
    "expires at half of the lease": {"lease", "deadline"},
    "serves the last first": {"fifo"},
    "lets readers pass": {"fifo"},
    "says released and keeps": {"ghost"},
    "releases twice": {"once"},
    "keeps what a closed session held": {"session"},
    "forgets a waiter": {"progress", "fifo", "session"},
    "answers reads of the past": {"reads", "ghost", "session"},
    "never expires": {"ghost", "progress"},
    "forgets sessions in an election": {"lease", "once"},
    "moves grants to another's time": {"exclusion", "deadline"},
}


class Grant:
    def __init__(self, session, token, fence, request):
        self.session, self.token, self.fence = session, token, fence
        self.mode, self.count, self.limit = request["mode"], request["count"], request["limit"]


class Lock:
    def __init__(self):
        self.holders = []
        self.queue = []  # (session, request, callback)
        self.past = []   # (time, holders, waiters), for reads of the past


class Service:
    """One state, one clock. `broken` is one of BREAKS or None."""

    def __init__(self, world, broken):
        self.world, self.broken = world, broken
        self.token = 100
        self.sessions = {}  # id: deadline
        self.next_session = 10
        self.locks = {}
        self.stall = 0      # time for which nobody led

    def lock(self, key):
        return self.locks.setdefault(key, Lock())

    def breaks(self, what, chance=0.2):
        return self.broken == what and self.world.random.random() < chance

    def open(self):
        self.next_session += 1
        session = self.next_session
        self.sessions[session] = 0
        self.renew(session)
        return session

    def renew(self, session):
        if session not in self.sessions:
            return False
        ttl = TTL_MS * MS
        if self.broken == "expires at half of the lease":
            ttl //= 2
        deadline = self.world.now + ttl
        self.sessions[session] = deadline
        self.world.at(deadline, lambda: self.expire(session, deadline))
        return True

    def expire(self, session, deadline):
        if self.sessions.get(session) == deadline and self.broken != "never expires":
            if self.stall > self.world.now:  # time stands still
                self.sessions[session] = later = self.stall + (self.stall - self.world.now)
                self.world.at(later, lambda: self.expire(session, later))
            else:
                self.end(session)

    def end(self, session, closed=False):
        self.sessions.pop(session, None)
        if not closed:
            self.world.after(self.world.delay(), lambda: self.world.tell_end(session))
        for key, lock in self.locks.items():
            before = len(lock.holders) + len(lock.queue)
            if not (closed and self.breaks("keeps what a closed session held", 1)):
                lock.holders = [grant for grant in lock.holders if grant.session != session]
            gone = [wait for wait in lock.queue if wait[0] == session]
            lock.queue = [wait for wait in lock.queue if wait[0] != session]
            for wait in gone:
                wait[2]("fail", error="SESSION_LOST")
            if before != len(lock.holders) + len(lock.queue):
                self.hand_on(key)

    def admits(self, lock, request):
        if not lock.holders or self.breaks("grants to two"):
            return True
        first = lock.holders[0]
        if request["mode"] != first.mode or first.mode == "exclusive" or first.limit != request["limit"]:
            return False
        used = sum(grant.count for grant in lock.holders)
        return first.mode == "shared" or used + request["count"] <= first.limit or self.broken == "ignores the limit"

    def grant(self, lock, session, request, callback):
        self.token += 1
        token = self.token
        if self.breaks("gives tokens twice", 0.05):
            token -= 1
        if self.breaks("gives tokens that fall", 0.05):
            token -= 50
        fence = lock.holders[0].fence if lock.holders and request["mode"] != "exclusive" else token
        if self.broken == "gives each reader its own fence":
            fence = token
        lock.holders.append(Grant(session, token, fence, request))
        callback("ok", session=session, token=token, fence=fence)

    def hand_on(self, key):
        lock = self.lock(key)
        if self.broken == "serves the last first":
            lock.queue.reverse()
        while lock.queue and self.admits(lock, lock.queue[0][1]):
            session, request, callback = lock.queue.pop(0)
            if not self.breaks("forgets a waiter", 0.05):
                self.grant(lock, session, request, callback)
        if self.broken == "serves the last first":
            lock.queue.reverse()

    def acquire(self, session, request, callback):
        if session not in self.sessions:
            callback("fail", error="SESSION_LOST")
            return
        lock = self.lock(request["key"])
        passes = self.broken == "lets readers pass" and request["mode"] == "shared"
        if (not lock.queue or passes) and self.admits(lock, request):
            self.grant(lock, session, request, callback)
        elif request["wait"] == 0:
            callback("fail", error="HELD")
        else:
            entry = (session, request, callback)
            lock.queue.append(entry)
            if request["wait"] > 0:
                self.world.after(request["wait"], lambda: self.time_out(lock, request["key"], entry))

    def time_out(self, lock, key, entry):
        if entry in lock.queue:
            lock.queue.remove(entry)
            entry[2]("fail", error="TIMED_OUT")
            self.hand_on(key)

    def release(self, key, token):
        lock = self.lock(key)
        held = [grant for grant in lock.holders if grant.token == token]
        if not held:
            return False
        if not self.breaks("says released and keeps", 0.1):
            lock.holders.remove(held[0])
            self.hand_on(key)
        return not self.breaks("releases twice", 0.1)

    def read(self, key):
        lock = self.lock(key)
        lock.past.append((self.world.now, list(lock.holders), [wait[0] for wait in lock.queue]))
        del lock.past[:-3]
        shown = lock.past[-1]
        if self.broken == "answers reads of the past" and len(lock.past) > 2:
            shown = lock.past[-3]
        return shown[1], shown[2]

    def current(self, key, fence):
        return any(grant.fence == fence for grant in self.lock(key).holders)


class World:
    """Time, the network, and the file."""

    def __init__(self, seed, operations, broken):
        self.random = random.Random(f"{seed} {broken}")
        self.now = 1000 * MS
        self.todo = []
        self.number = 0
        self.lines = []
        self.operations = operations
        self.processes = 0
        self.healed = False
        self.service = Service(self, broken)
        self.clients = []

    def at(self, time, action):
        self.number += 1
        heapq.heappush(self.todo, (max(time, self.now), self.number, action))

    def after(self, ms, action):
        self.at(self.now + int(ms * MS), action)

    def write(self, process, kind, name, **value):
        def edn(item):
            if isinstance(item, bool):
                return "true" if item else "false"
            if isinstance(item, list):
                return "[" + " ".join(edn(part) for part in item) + "]"
            if isinstance(item, dict):
                return "{" + " ".join(f":{key} {edn(part)}" for key, part in item.items()) + "}"
            return str(item) if isinstance(item, int) or item.startswith(":") else f'"{item}"'
        fields = {key.replace("_", "-"): item for key, item in value.items() if item is not None}
        self.lines.append(f"{{:process {process} :type :{kind} :f :{name} :time {self.now} :value {edn(fields)}}}")

    def tell_end(self, session):
        for client in self.clients:
            if client.session == session:
                client.later(lambda client=client: client.hear_end(session))

    def process(self):
        self.processes += 1
        return self.processes

    def delay(self):
        return self.random.expovariate(1 / 3.0) if self.random.random() < 0.97 else self.random.uniform(50, 400)

    def run(self):
        while self.todo:
            self.now, _, action = heapq.heappop(self.todo)
            action()


class Client:
    """Opens a session, renews it, and does one operation after the other."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.random = world.random
        self.alive = True
        self.gone = False     # has closed its session for good
        self.stall_until = 0
        self.held = None      # (key, token, fence)
        self.ended = None     # the session of which the service said that it has ended
        self.begin()

    def begin(self):
        if self.gone:
            return
        self.session = self.world.service.open()
        self.renewed = self.world.now
        self.held = None
        self.renew(self.session)
        self.next()

    def hear_end(self, session):
        self.ended = session

    def later(self, action):
        """What a client does when a message arrives: nothing if it is dead, later if it is stopped."""
        if not self.alive:
            return
        if self.stall_until > self.world.now:
            self.world.at(self.stall_until, lambda: self.later(action))
        else:
            action()

    def certain_until(self):
        return self.renewed + int(TTL_MS * MS * (1 - DRIFT)) - SLACK_MS * MS

    def send(self, execute, answered):
        """Carry `execute` to the service and its result back. A message that is lost is sent again; the result is kept."""
        def arrive():
            if self.world.service.stall > self.world.now:
                self.world.at(self.world.service.stall, arrive)
            else:
                result = execute()
                self.world.after(self.world.delay(), lambda: self.later(lambda: answered(result)))
        self.world.after(self.world.delay(), arrive)

    def renew(self, session):
        if not self.alive or self.session != session:
            return
        sent = self.world.now

        def answered(good):
            if good and self.session == session:
                self.renewed = max(self.renewed, sent)
        self.send(lambda: self.world.service.renew(session), answered)
        self.world.after(TTL_MS / 3, lambda: self.later(lambda: self.renew(session)))

    # ---- operations ----

    def next(self):
        if self.gone:
            return
        if self.held is not None:
            self.world.after(self.random.expovariate(1 / 15.0), lambda: self.later(self.act_on_held))
        else:
            self.world.after(self.random.expovariate(1 / 5.0), lambda: self.later(self.act))

    def act(self):
        if self.gone:
            return
        self.world.operations -= 1
        kind = self.random.random()
        if kind < 0.15:
            self.status(self.random.choice(KEYS))
        else:
            self.acquire()

    def acquire(self):
        key = self.random.choice(KEYS)
        mode = {"e": "exclusive", "p": "permits"}.get(key[0], self.random.choice(["shared", "shared", "exclusive"]))
        wait = self.random.choice([0, 50, 500, 500, -1])
        request = {"key": key, "mode": mode, "wait": wait, "count": self.random.randint(1, 2) if mode == "permits" else 1,
                   "limit": 3 if mode == "permits" else 0}
        value = {"key": key, "owner": self.name, "mode": ":" + mode, "wait_ms": wait, "ttl_ms": TTL_MS}
        if mode == "permits":
            value.update(count=request["count"], limit=3)
        process, session = self.world.process(), self.session
        self.world.write(process, "invoke", "acquire", **value)

        state = {"open": True}
        if self.random.random() < 0.03 and not self.world.healed:
            # No answer: the client gives up at once, and closes the session, since nobody knows what it holds.
            self.world.after(self.random.uniform(0, 800), lambda: self.later(give_up))

        def give_up():
            if state["open"]:
                state["open"] = False
                self.world.write(process, "info", "acquire", error=":UNKNOWN", **value)
                self.close(again=True)

        def replied(outcome, **more):
            self.world.after(self.world.delay(), lambda: self.later(lambda: finish(outcome, **more)))

        def finish(outcome, error=None, **more):
            if not state["open"]:
                return
            state["open"] = False
            if outcome == "ok":
                until = self.certain_until()
                self.world.write(process, "ok", "acquire", certain_until=until, **more, **value)
                if until <= self.world.now:
                    self.lose(key, session, more["token"])
                else:
                    self.held = (key, more["token"], more["fence"])
                    self.next()
            else:
                self.world.write(process, "fail", "acquire", error=":" + error, **value)
                if error == "SESSION_LOST":
                    self.begin()
                else:
                    self.next()

        def arrive():
            if self.world.service.stall > self.world.now:
                self.world.at(self.world.service.stall, arrive)
            else:
                self.world.service.acquire(session, request, replied)
        self.world.after(self.world.delay(), arrive)

    def lose(self, key, session, token, reason=":uncertain"):
        self.world.write(self.world.process(), "info", "lost", key=key, owner=self.name, session=session, token=token,
                         reason=reason)
        self.begin()

    def act_on_held(self):
        if self.gone:
            return
        key, token, fence = self.held
        kind = self.random.random()
        if self.ended == self.session:
            self.lose(key, self.session, token, ":expired")
        elif self.certain_until() <= self.world.now:
            self.lose(key, self.session, token)
        elif kind < 0.15:
            self.check(key, token, fence)
        elif kind < 0.25:
            self.status(key)
        elif kind < 0.3:
            self.renew_by_request()
        elif kind < 0.4:
            self.world.after(self.random.uniform(100, 1500), lambda: self.later(self.act_on_held))
        else:
            self.release(key, token)

    def simple(self, name, execute, finished, **value):
        """An operation with one message each way; `execute` returns (outcome, fields of the completion)."""
        process = self.world.process()
        self.world.write(process, "invoke", name, **value)

        def answered(result):
            outcome, more = result
            self.world.write(process, outcome, name, **{**value, **more})
            finished()
        self.send(execute, answered)

    def release(self, key, token):
        certain = self.world.now if self.certain_until() > self.world.now else None
        self.held = None

        def execute():
            good = self.world.service.release(key, token)
            return ("ok", {}) if good else ("fail", {"error": ":NOT_HELD"})
        self.simple("release", execute, self.next, key=key, owner=self.name, session=self.session, token=token,
                    certain=certain)

    def renew_by_request(self):
        session, sent = self.session, self.world.now

        def execute():
            good = self.world.service.renew(session)
            if good and self.session == session:
                self.renewed = max(self.renewed, sent)
            return ("ok", {}) if good else ("fail", {"error": ":SESSION_LOST"})
        self.simple("renew", execute, self.next, owner=self.name, session=session, ttl_ms=TTL_MS)

    def check(self, key, token, fence):
        self.simple("check", lambda: ("ok", {"current": self.world.service.current(key, fence)}), self.next, key=key,
                    owner=self.name, token=token, fence=fence)

    def status(self, key):
        def execute():
            holders, queue = self.world.service.read(key)
            shown = [{"session": grant.session, "token": grant.token} for grant in holders]
            more = {"holders": shown, "waiters": len(queue)}
            if self.random.random() < 0.5:
                more["queue"] = queue
            return "ok", more
        self.simple("status", execute, self.next, key=key)

    def leave(self):
        if self.session is None:  # it is closing one, and would open another
            self.world.after(10, lambda: self.later(self.leave))
            return
        self.gone = True
        self.close()

    def close(self, again=False):
        session, self.session = self.session, None

        def execute():
            self.world.service.end(session, closed=True)
            return "ok", {}
        self.held = None
        self.simple("close", execute, self.begin if again else lambda: None, owner=self.name, session=session)


KEYS = ["e1", "e2", "s1", "s2", "p1"]


def fault(world):
    """One at a time, now and then, until enough operations were done; then heal, calm, and the end."""
    if world.operations <= 0:
        world.write(":nemesis", "info", "heal")
        world.healed = True
        world.after(15000, lambda: finish(world))
        return
    kind = world.random.random()
    client = world.random.choice(world.clients)
    if kind < 0.2 and client.alive:
        client.alive = False
        world.write(":nemesis", "info", "crash", owners=[client.name])
        world.clients.append(Client(world, f"c{len(world.clients)}"))
    elif kind < 0.6 and client.alive:
        client.stall_until = world.now + int(world.random.uniform(100, 5000) * MS)
        world.write(":nemesis", "info", "pause", owners=[client.name])
        world.at(client.stall_until, lambda: world.write(":nemesis", "info", "resume", owners=[client.name]))
    else:
        world.service.stall = world.now + int(world.random.uniform(100, 1500) * MS)
        if world.service.broken == "forgets sessions in an election":
            for session in list(world.service.sessions):
                world.service.end(session)
        world.write(":nemesis", "info", "start-election")
        world.at(world.service.stall, lambda: world.write(":nemesis", "info", "stop-election"))
    world.after(world.random.expovariate(1 / 700.0), lambda: fault(world))


def finish(world):
    """A wait for ever ends with its session."""
    for client in world.clients:
        client.later(client.leave)
    world.after(20000, lambda: final(world))


def final(world):
    for key in KEYS:
        holders, queue = world.service.read(key)
        world.write(world.process(), "info", "final", key=key, waiters=len(queue), asked=world.now,
                    holders=[{"session": grant.session, "token": grant.token} for grant in holders])
    world.todo = []


def history(seed, operations, broken):
    world = World(seed, operations, broken)
    for number in range(12):
        world.clients.append(Client(world, f"c{number}"))
    world.after(500, lambda: fault(world))
    world.run()
    lines = world.lines
    if broken == "moves grants to another's time":
        lines = moved(lines)
    return lines


def moved(lines):
    """A break of the history itself: the second half's grants of one key are said to have completed 40 ms earlier."""
    result = []
    for line in lines:
        if ":type :ok :f :acquire" in line and ':key "e1"' in line:
            head, rest = line.split(":time ", 1)
            time, rest = rest.split(" ", 1)
            line = f"{head}:time {int(time) - 40 * MS} {rest}"
        result.append(line)
    return result


def rejections(text):
    table = text[text.index("\nrule "):].splitlines()[2:]
    rows = [line.split() for line in table if len(line.split()) > 3 and line.split()[1].isdigit()]
    return {row[0] for row in rows if int(row[2]) > 0}


def judged(program, lines, path):
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    done = subprocess.run([program, "--calm-seconds", "12", "--margin-ms", "2000", path], capture_output=True, text=True,
                          check=False)
    if done.returncode not in (0, 1):
        return done.returncode, set(), done.stderr
    return done.returncode, rejections(done.stdout), done.stdout


def run(arguments, path):
    wrong = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        lines = history(seed, arguments.operations, None)
        code, _, text = judged(arguments.judge, lines, path)
        if code != 0:
            print(f"--seed {seed}: a correct service's history of {len(lines)} lines is rejected\n{text}")
            return 1
    print(f"{arguments.runs} histories of a correct service accepted, the last with {len(lines)} lines:")
    print(text[text.index("\noperation"):text.index("\nfault")])
    for broken, rules in BREAKS.items():
        # A break need not show in one history, nor by each of its rules.
        for seed in range(arguments.seed, arguments.seed + TRIES):
            lines = history(seed, arguments.operations, broken)
            code, found, text = judged(arguments.judge, lines, path)
            noticed = code == 1 and found & rules
            if noticed:
                break
        print(f"a service that {broken}: {'rejected by ' + ', '.join(sorted(found)) if noticed else f'NOT NOTICED {code} {text}'}")
        wrong += not noticed
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("judge")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "little"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--operations", type=int, default=2500)
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    print(f"--seed {arguments.seed} --runs {arguments.runs} --operations {arguments.operations}")
    if arguments.keep is not None:
        return run(arguments, arguments.keep)
    with tempfile.TemporaryDirectory() as directory:
        return run(arguments, os.path.join(directory, "history.edn"))


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
