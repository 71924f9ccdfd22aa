"""Contenders that alternate in small blocks, so that other load affects all equally."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter, thread_time

Block = Callable[[Sequence[str]], list[float]]
"""Serves one request for each of these tenants, and returns the seconds of each."""


@dataclass
class Contender:
    """One way to serve a request, and its measurements."""

    name: str
    block: Block
    wall: list[list[float]] = field(default_factory=list)
    """Seconds of each request, by round."""
    cpu: list[float] = field(default_factory=list)
    """Processor seconds of this process per request, by round, without server, disk and network."""

    @property
    def microseconds(self) -> float:
        """The median request, in µs."""
        return statistics.median(seconds for block in self.wall for seconds in block) * 1e6

    @property
    def cpu_microseconds(self) -> float:
        """The processor time of a request in this process, in µs: the median of the rounds."""
        return statistics.median(self.cpu) * 1e6


@dataclass(frozen=True)
class Ratio:
    """The time of one contender relative to another's; the bounds contain 95 % of bootstrap samples."""

    value: float
    low: float
    high: float


def timed(request: Callable[[str], None]) -> Block:
    """Return the block of a contender whose requests are plain calls."""

    def block(tenants: Sequence[str]) -> list[float]:
        seconds: list[float] = []
        for tenant in tenants:
            start = perf_counter()
            request(tenant)
            seconds.append(perf_counter() - start)
        return seconds

    return block


def race(
    contenders: Sequence[Contender],
    tenants: Sequence[str],
    *,
    rounds: int,
    block: int,
    warm_up: int,
    tick: Callable[[], None],
) -> None:
    """Let the contenders serve all *tenants* in turn, in *rounds* of *block* requests each.

        Before that, each serves every tenant *warm_up* times, to fill the caches of server
    and driver.
    """
    rng = random.Random(7)  # noqa: S311 - an order, not a secret
    for contender in contenders:
        for _ in range(warm_up):
            contender.block(tenants)
            tick()
    for number in range(rounds):
        served = [tenants[(number * block + offset) % len(tenants)] for offset in range(block)]
        for contender in rng.sample(contenders, len(contenders)):
            start = thread_time()
            contender.wall.append(contender.block(served))
            contender.cpu.append((thread_time() - start) / block)
            tick()


def wall_ratio(contender: Contender, base: Contender) -> Ratio:
    """Compare the medians of each round, and return the median of these ratios."""
    pairs = zip(contender.wall, base.wall, strict=True)
    return median_ratio([statistics.median(ours) / statistics.median(theirs) for ours, theirs in pairs])


def cpu_ratio(contender: Contender, base: Contender) -> Ratio:
    """Compare the processor times of each round, and return the median of these ratios."""
    return median_ratio([ours / theirs for ours, theirs in zip(contender.cpu, base.cpu, strict=True)])


def median_ratio(of_rounds: list[float]) -> Ratio:
    """Return the median of some ratios, with bounds for it."""
    rng = random.Random(7)  # noqa: S311 - a sample, not a secret
    medians = sorted(statistics.median(rng.choices(of_rounds, k=len(of_rounds))) for _ in range(500))
    return Ratio(statistics.median(of_rounds), medians[12], medians[487])
