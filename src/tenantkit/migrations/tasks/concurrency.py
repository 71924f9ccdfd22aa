"""How many at a time are of use to a server, found out by the work itself. Nothing here waits or reads a clock."""

from __future__ import annotations

from dataclasses import dataclass, field

_FIRST = 2
_GAIN = 1.2
"""Twice as many have to get so much more done. While a server has processors left, it is almost twice as much, and
chance in what is measured does not matter; when it has none, either choice is as good."""
_SAMPLE = 8
"""So many tasks of each are measured, after its first, which is slow on a new connection."""
_PATIENCE = 0.5
"""Seconds. Where there is no sample by then, tasks take long, or wait for locks, and nothing speaks against more."""
_REST = 5.0
"""Seconds until more connections are tried again: other work may have kept the server busy."""


@dataclass(slots=True)
class ConcurrencyLimit:
    """Says how many may work at a time: first two, then twice as many, up to *limit*, while that gets more done.

    A server whose processors are all busy is slowed down by further connections, and so are its other clients: two
    processors migrated 500 tenants in 2.1 s over two or four connections, and in 2.5 s over eight. What takes so long
    that it cannot be compared soon is done by as many as there may be.

    All numbers of seconds are by one clock, that of the caller.
    """

    limit: int
    width: int = field(init=False)
    """How many may work now."""
    _base: int = field(init=False)
    """How many are known to be of use."""
    _rate: float = 0.0
    """What those get done in a second; 0 if that is not known."""
    _since: float = 0.0
    _done: int = 0
    _rests_until: float = 0.0

    def __post_init__(self) -> None:
        self.width = self._base = min(_FIRST, self.limit)

    def start(self, now: float) -> None:
        """Begin to measure."""
        self._since, self._done = now, -self.width

    def finished(self, now: float) -> bool:
        """Count a task as done; return whether another number may work from now on."""
        self._done += 1
        if self._done == 0:
            self._since = now
        if self._done < _SAMPLE * self.width:
            return False
        before = self.width
        self._judge(self._done / max(now - self._since, 1e-6), now)
        self.start(now)
        return self.width != before

    def patience(self, now: float) -> float | None:
        """Return for how many seconds to wait for `finished` before `widen`; ``None`` for any number."""
        if self.width == self.limit:
            return None
        until = self._since + _PATIENCE
        if self.width == self._base:
            until = max(until, self._rests_until)
        return max(until - now, 0.0)

    def widen(self, now: float) -> None:
        """Let more work, whether or not it is known what that brings."""
        self.width = min(2 * self.width, self.limit)
        self._rate = 0.0
        self.start(now)

    def _judge(self, rate: float, now: float) -> None:
        if self.width > self._base and rate < self._rate * _GAIN:
            self.width = self._base
            self._rests_until = now + _REST
            return
        self._base = self.width
        if now >= self._rests_until:
            self.widen(now)
        self._rate = rate
