"""Tables of contenders, and the targets for their ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from benchmarks.race import Contender, Ratio, cpu_ratio, wall_ratio
from benchmarks.targets import Target, new_table


def named(contenders: Sequence[Contender], name: str) -> Contender:
    """Return the contender of this name."""
    return next(contender for contender in contenders if contender.name == name)


def ratio_text(ratio: Ratio) -> str:
    """Return a ratio with its bounds."""
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def ratio_target(contenders: Sequence[Contender], ours: str, theirs: str, kind: str, limit: float) -> Target:
    """Return the target for the ratio of one contender to another."""
    ratio = wall_ratio(named(contenders, ours), named(contenders, theirs))
    return Target(f"{kind}: {ours} at most {limit} x {theirs}", ratio_text(ratio), ratio.value <= limit)


def show(title: str, contenders: Sequence[Contender], console: Console, *, base: str, bases: Mapping[str, str]) -> None:
    """Print the contenders, relative to the *base*, and some also relative to the one that *bases* names for them."""
    theirs = named(contenders, base)
    table = new_table(title, "contender", "median", f"to {base}", "client's CPU", "ratio", "to the same by hand")
    for contender in contenders:
        by_hand = bases.get(contender.name)
        table.add_row(
            contender.name,
            f"{contender.microseconds:,.0f} µs",
            ratio_text(wall_ratio(contender, theirs)),
            f"{contender.cpu_microseconds:,.0f} µs",
            ratio_text(cpu_ratio(contender, theirs)),
            "" if by_hand is None else ratio_text(wall_ratio(contender, named(contenders, by_hand))),
        )
    console.print(table)
