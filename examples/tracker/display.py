"""The output of the demonstration on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Self

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from typing_extensions import override

from tenantkit.migrations import Outcome, Progress

_console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Row:
    """A tenant in the table."""

    key: str
    name: str
    isolation: str
    revision: str
    rows: int
    kilobytes: int | None
    """The size of its tables; ``None`` if it has none of its own."""


@contextmanager
def step(doing: str) -> Generator[Callable[[str], None]]:
    """Show a running step; the function that it yields shows the result."""
    begin = perf_counter()
    said = doing
    with _console.status(doing):

        def done(text: str) -> None:
            nonlocal said
            said = text

        yield done
    _console.print(f"[green]✓[/green] {said} [dim]{perf_counter() - begin:.1f} s[/dim]")


@contextmanager
def bar(title: str, total: int) -> Generator[Callable[[], None]]:
    """Show a progress bar; the function that it yields advances it by one."""
    with _progress() as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)


class MigrationBar(Progress):
    """Shows the progress of a migration."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._progress = _progress()
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @override
    def started(self, total: int) -> None:
        """Show an empty bar."""
        self._task = self._progress.add_task(self._title, total=total)

    @override
    def finished(self, outcome: Outcome) -> None:
        """Advance the bar by one tenant."""
        self._progress.advance(self._task)


def title(text: str, below: str) -> None:
    """Print the title."""
    _console.print(Panel(f"[bold]{text}[/bold]\n[dim]{below}[/dim]", border_style="cyan", expand=False))


def tenants(rows: Iterable[Row]) -> None:
    """Print a table of tenants."""
    table = Table(header_style="bold", border_style="dim")
    for heading in ("key", "name", "isolation", "revision"):
        table.add_column(heading)
    for heading in ("rows", "size"):
        table.add_column(heading, justify="right")
    for row in rows:
        size = "" if row.kilobytes is None else f"{row.kilobytes:,} kB"
        table.add_row(row.key, row.name, row.isolation, row.revision, str(row.rows), size)
    _console.print(table)


def note(text: str) -> None:
    """Print the result of the step before."""
    _console.print(f"  {text}", style="dim")


def failed(text: str) -> None:
    """Print the reason why the demonstration stops."""
    _console.print(text, style="red", markup=False)


def refused(attempt: str, error: Exception) -> None:
    """Print an attempt, and its error."""
    _console.print(Panel(f"{attempt}\n[red]{type(error).__name__}[/red]: {error}", title="refused", border_style="red"))


def next_steps(text: str) -> None:
    """Print the next steps."""
    _console.print(Panel(text, title="next", border_style="cyan", expand=False))


def _progress() -> Bars:
    return Bars(
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=_console,
    )
