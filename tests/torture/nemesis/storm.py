"""Storms and windows, in turn, as the seed has it: a storm is several faults that begin and end at moments of their own; in
the window after it nothing is broken, so that every majority can work. All kinds come before one comes again."""

import random

WINDOW_S = (1.5, 3.0)
STORM_S = (2.0, 8.0)
LONG_STORM_S = (9.0, 14.0)
COUNTS = (1, 2, 2, 3, 3, 3, 4)


class Storm:
    def __init__(self, world, kinds, seed):
        self.world = world
        self.kinds = kinds
        self.seed = seed
        self.rng = random.Random(f"{seed} storm")
        self.deck = []
        self.active = []
        self.drawn = {}

    def draw(self):
        if not self.deck:
            self.deck = self.rng.sample(self.kinds, len(self.kinds))
        return self.deck.pop()

    def begin(self, kind, seconds):
        self.drawn[kind.name] = self.drawn.get(kind.name, 0) + 1
        fault = kind(self.world, random.Random(f"{self.seed} {sum(self.drawn.values())}"), seconds)
        self.active.append(fault)
        fault.begin()

    def end(self, fault):
        if fault in self.active:
            self.active.remove(fault)
            fault.cancel()
            fault.end()

    def end_all(self):
        while self.active:
            self.end(self.active[-1])

    def one(self, longest_s):
        length = min(longest_s, self.rng.uniform(*(LONG_STORM_S if self.rng.random() < 0.15 else STORM_S)))
        starts = [0.0] + [self.rng.uniform(0, length / 2) for _ in range(self.rng.choice(COUNTS) - 1)]
        for begin in sorted(starts):
            kind, seconds = self.draw(), self.rng.uniform(0.4, 1.0) * (length - begin)
            self.world.loop.after(begin, lambda kind=kind, seconds=seconds: self.start(kind, seconds))
        self.world.loop.run_for(length)
        self.end_all()

    def start(self, kind, seconds):
        self.begin(kind, seconds)
        fault = self.active[-1]
        self.world.loop.after(seconds, lambda: self.end(fault))

    def run(self, seconds):
        end = self.world.loop.now() + seconds
        while self.world.loop.now() < end:
            if self.kinds:
                self.one(end - self.world.loop.now())
            self.world.loop.run_for(min(self.rng.uniform(*WINDOW_S), max(0.0, end - self.world.loop.now())))
