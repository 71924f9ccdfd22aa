"""What was promised, and whether it was met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Target:
    """Something that was promised, and what was measured."""

    promise: str
    measured: str
    met: bool


def show_targets(console: Console, targets: Sequence[Target]) -> int:
    """Print them all, and return how many were missed."""
    table = new_table("Targets", "promise", "measured", "target", numbers=0)
    for target in targets:
        table.add_row(target.promise, target.measured, "[green]met[/]" if target.met else "[red]missed[/]")
    console.print(table)
    return sum(not target.met for target in targets)


def new_table(title: str, *headings: str, numbers: int | None = None) -> Table:
    """Return an empty table whose last columns, so many or all but the first, hold numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    right = len(headings) - 1 if numbers is None else numbers
    for place, heading in enumerate(headings, start=1):
        table.add_column(heading, justify="right" if place > len(headings) - right else "left")
    return table
