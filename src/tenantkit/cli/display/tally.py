"""Counting how a run goes: cheap for each tenant, as there may be hundreds in a second; worked out when it is shown."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from heapq import heappush, heapreplace
from time import monotonic

from tenantkit.migrations import Outcome, StepProgress

_WINDOW = 10.0
"""Over how many seconds the rate is taken: long enough to be steady, short enough to show that something changed."""
_SLOWEST = 3
_ENOUGH = 0.5
"""For how many seconds it must have been running before its rate means anything."""
_STILL = 2.0
"""If no tenant is done within these seconds, or within this multiple of one tenant's time, no estimate is shown."""


class Tally:
    """How many tenants came to what, how fast, and which took longest."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._began = self._changed = clock()
        self._samples: deque[tuple[float, int]] = deque()
        self._slowest: list[tuple[int, str]] = []
        self.total = self.done = self.failed = self.retried = 0
        self.engines: Counter[str] = Counter()
        self.step: StepProgress | None = None
        """How far the long step of a tenant is that is not done yet; such steps come one after another."""

    def start(self, total: int) -> None:
        """Begin to count, with how many tenants have something to do."""
        self.total = total
        self._began = self._changed = self._clock()
        self._samples.append((self._began, 0))

    def add(self, outcome: Outcome) -> None:
        """Count the outcome of one."""
        if self.step is not None and self.step.key == outcome.key:
            self.step = None
        self.done += 1
        self.retried += outcome.attempts > 1
        if not outcome.ok:
            self.failed += 1
            return
        if outcome.engine is not None:
            self.engines[outcome.engine] += 1
        took = (outcome.duration_ms, outcome.key)
        if len(self._slowest) < _SLOWEST:
            heappush(self._slowest, took)
        elif took > self._slowest[0]:
            heapreplace(self._slowest, took)

    def remove(self, outcome: Outcome) -> None:
        """Take back the outcome of one."""
        self.done -= 1
        self.retried -= outcome.attempts > 1
        if outcome.engine is not None:
            self.engines[outcome.engine] -= 1

    @property
    def slowest(self) -> list[tuple[str, int]]:
        """The tenants that took longest, and how many milliseconds, the slowest first."""
        return [(key, took) for took, key in sorted(self._slowest, reverse=True)]

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return self._clock() - self._began

    def rate(self) -> float | None:
        """Return how many tenants were done in a second, lately; ``None`` if that cannot be said yet."""
        now = self._clock()
        if self.done > self._samples[-1][1]:
            self._changed = now
        self._samples.append((now, self.done))
        while len(self._samples) > 1 and self._samples[1][0] < now - _WINDOW:
            self._samples.popleft()
        then, before = self._samples[0]
        return None if now - then < _ENOUGH else (self.done - before) / (now - then)

    def seconds_left(self, rate: float | None) -> float | None:
        """Return when all will be done, if they go on at this *rate*; ``None`` if they do not, for the moment."""
        if not rate or self._clock() - self._changed > max(_STILL, _STILL / rate):
            return None
        return (self.total - self.done) / rate
