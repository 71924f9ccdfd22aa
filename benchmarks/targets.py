"""The targets, and the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Target:
    """A target, and its measurement."""

    text: str
    measured: str
    met: bool


def show_targets(console: Console, targets: Sequence[Target]) -> int:
    """Print all targets, and return the number of those that were missed."""
    table = new_table("Targets", "target", "measured", "result", numbers=0)
    for target in targets:
        table.add_row(target.text, target.measured, "[green]met[/]" if target.met else "[red]missed[/]")
    console.print(table)
    return sum(not target.met for target in targets)


def new_table(title: str, *headings: str, numbers: int | None = None) -> Table:
    """Return an empty table whose last *numbers* columns, or all but the first, are right-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold")
    right = len(headings) - 1 if numbers is None else numbers
    for place, heading in enumerate(headings, start=1):
        table.add_column(heading, justify="right" if place > len(headings) - right else "left")
    return table
