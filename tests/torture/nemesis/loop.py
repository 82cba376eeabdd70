"""One thread: what is due at which time, and children that end. Everything in the orchestrator runs from here."""

import heapq
import itertools
import os
import select
import signal
import time


class Stopped(Exception):
    """The run was told to end."""


class Due:
    """Something to be done later. cancel() may be called at any time, also twice."""

    def __init__(self, function):
        self.function = function

    def cancel(self):
        self.function = None


class Loop:
    def __init__(self):
        self.queue = []
        self.order = itertools.count()
        self.children = {}
        self.stopped_by = None
        self.reading, writing = os.pipe()
        os.set_blocking(self.reading, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)

    def _stop(self, number, _frame):
        self.stopped_by = number

    def now(self):
        return time.monotonic()

    def after(self, seconds, function):
        due = Due(function)
        heapq.heappush(self.queue, (self.now() + seconds, next(self.order), due))
        return due

    def watch(self, popen, ended):
        """Call ended(code) once when the child has ended; negative codes are signals, as in subprocess."""
        self.children[popen.pid] = (popen, ended)

    def _reap(self):
        for pid, (popen, ended) in list(self.children.items()):
            code = popen.poll()
            if code is not None:
                del self.children[pid]
                ended(code)

    def _run_due(self):
        while self.queue and self.queue[0][0] <= self.now():
            _, _, due = heapq.heappop(self.queue)
            function, due.function = due.function, None
            if function is not None:
                function()

    def turn(self, seconds):
        """Wait for something, `seconds` at most, and do what is due."""
        if self.stopped_by is not None:
            raise Stopped(signal.Signals(self.stopped_by).name)
        if self.queue:
            seconds = min(seconds, max(0.0, self.queue[0][0] - self.now()))
        if select.select([self.reading], [], [], seconds)[0]:
            try:
                os.read(self.reading, 4096)
            except BlockingIOError:
                pass
        self._reap()
        self._run_due()
        if self.stopped_by is not None:
            raise Stopped(signal.Signals(self.stopped_by).name)

    def run_for(self, seconds):
        end = self.now() + seconds
        while self.now() < end:
            self.turn(end - self.now())

    def wait(self, seconds, condition):
        """Until the condition holds; False if it does not within the bound."""
        end = self.now() + seconds
        while not condition():
            if self.now() >= end:
                return False
            self.turn(min(0.05, end - self.now()))
        return True
