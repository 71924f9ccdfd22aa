"""Adaptive concurrency limit. Pure: the caller passes the time."""

from __future__ import annotations

from dataclasses import dataclass, field

_FIRST = 2
_GAIN = 1.2
"""Minimum factor of the throughput for twice as many tasks at a time. With free processors it is almost 2, far from the
noise of the measurement; without, either choice is as good."""
_SAMPLE = 8
"""Number of measured tasks per connection, after its first one, which is slow."""
_PATIENCE = 0.5
"""Seconds to wait for a sample. Without one, tasks take long or wait for locks, and more of them do no harm."""
_RETRY_AFTER = 5.0
"""Seconds until the next attempt with more connections: other work may have kept the server busy."""


@dataclass(slots=True)
class ConcurrencyLimit:
    """Limits the number of tasks at a time: first two, then twice as many, up to *limit*, while the throughput grows.

    Further connections slow down a server whose processors are all busy, and its other clients: two processors migrated
    500 tenants in 2.1 s over two or four connections, and in 2.5 s over eight. Tasks that take too long for a
    comparison run at the limit.

    All times are seconds of the caller's clock.
    """

    limit: int
    width: int = field(init=False)
    """The present number of tasks at a time."""
    _base: int = field(init=False)
    """The best known number of tasks at a time."""
    _rate: float = 0.0
    """Their throughput in tasks per second; 0 if it is not known."""
    _since: float = 0.0
    _done: int = 0
    _retry_at: float = 0.0

    def __post_init__(self) -> None:
        self.width = self._base = min(_FIRST, self.limit)

    def start(self, now: float) -> None:
        """Begin to measure."""
        self._since, self._done = now, -self.width

    def finished(self, now: float) -> bool:
        """Count a finished task; return whether the limit has changed."""
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
        """Return the seconds to wait for `finished` before `widen`; ``None`` for no limit."""
        if self.width == self.limit:
            return None
        until = self._since + _PATIENCE
        if self.width == self._base:
            until = max(until, self._retry_at)
        return max(until - now, 0.0)

    def widen(self, now: float) -> None:
        """Raise the limit without a measurement."""
        self.width = min(2 * self.width, self.limit)
        self._rate = 0.0
        self.start(now)

    def _judge(self, rate: float, now: float) -> None:
        if self.width > self._base and rate < self._rate * _GAIN:
            self.width = self._base
            self._retry_at = now + _RETRY_AFTER
            return
        self._base = self.width
        if now >= self._retry_at:
            self.widen(now)
        self._rate = rate
