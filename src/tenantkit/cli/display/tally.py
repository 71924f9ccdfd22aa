"""Counts of a run. Counting is cheap, as there may be hundreds of tenants per second; rates are computed on display."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from heapq import heappush, heapreplace
from time import monotonic

from tenantkit.migrations import Outcome, StepProgress

_WINDOW = 10.0
"""Seconds over which the rate is measured: long enough to be steady, short enough to show a change."""
_SLOWEST = 3
_ENOUGH = 0.5
"""Seconds before a rate is shown."""
_STILL = 2.0
"""Seconds, and multiple of one tenant's time, without a finished tenant after which no estimate is shown."""


class Tally:
    """The number of tenants by outcome, their rate, and the slowest ones."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._began = self._changed = clock()
        self._samples: deque[tuple[float, int]] = deque()
        self._slowest: list[tuple[int, str]] = []
        self.total = self.done = self.failed = self.retried = 0
        self.engines: Counter[str] = Counter()
        self.step: StepProgress | None = None
        """The progress of the current long step; such steps run one after another."""

    def start(self, total: int) -> None:
        """Begin to count, with the number of tenants to migrate."""
        self.total = total
        self._began = self._changed = self._clock()
        self._samples.append((self._began, 0))

    def add(self, outcome: Outcome) -> None:
        """Count the outcome of one tenant."""
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
        """Remove the outcome of one tenant."""
        self.done -= 1
        self.retried -= outcome.attempts > 1
        if outcome.engine is not None:
            self.engines[outcome.engine] -= 1

    @property
    def slowest(self) -> list[tuple[str, int]]:
        """The slowest tenants and their milliseconds, the slowest first."""
        return [(key, took) for took, key in sorted(self._slowest, reverse=True)]

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        return self._clock() - self._began

    def rate(self) -> float | None:
        """Return the recent number of tenants per second; ``None`` if it is not known yet."""
        now = self._clock()
        if self.done > self._samples[-1][1]:
            self._changed = now
        self._samples.append((now, self.done))
        while len(self._samples) > 1 and self._samples[1][0] < now - _WINDOW:
            self._samples.popleft()
        then, before = self._samples[0]
        return None if now - then < _ENOUGH else (self.done - before) / (now - then)

    def seconds_left(self, rate: float | None) -> float | None:
        """Return the remaining seconds at this *rate*; ``None`` if no tenant has finished lately."""
        if not rate or self._clock() - self._changed > max(_STILL, _STILL / rate):
            return None
        return (self.total - self.done) / rate
