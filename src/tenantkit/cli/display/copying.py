"""The display of tables that are copied."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tenantkit.cli.display.output import err


@contextmanager
def table_progress(doing: str) -> Generator[Callable[[str, int, int], None] | None]:
    """Yield what shows the current table at a terminal; nothing is shown elsewhere."""
    if not err.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True) as display:
        task = display.add_task(doing, total=None)

        def show(table: str, number: int, total: int) -> None:
            display.update(task, description=f"{doing} {table}", completed=number - 1, total=total)

        yield show
