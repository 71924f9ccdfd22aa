"""Telling how a run over the fleet goes, on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from tenantkit.cli.errors import without_passwords
from tenantkit.cli.output import err

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tenantkit.migrations import Outcome, Wave


class FleetProgress:
    """A bar at a terminal, a line for each tenant elsewhere; failures are always told as they come."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._count = self._total = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def started(self, total: int) -> None:
        """Show how many tenants have something to do."""
        self._total = total
        if total:
            self._task = self._bar.add_task(self._doing, total=total)

    def finished(self, outcome: Outcome) -> None:
        """Show what came of one of them."""
        self._count += 1
        if not outcome.ok:
            err.print(Text.assemble(("failed ", "bold red"), failure(outcome)), soft_wrap=True)
        elif not err.is_terminal:
            place = f"[{self._count:>{len(str(self._total))}}/{self._total}]"
            step = f"{outcome.from_revision or 'base'} -> {outcome.to_revision or 'base'}"
            err.print(f"{place} {outcome.key} {step} in {outcome.duration_ms} ms", soft_wrap=True)
        if self._task is not None:
            self._bar.advance(self._task)

    def wave_ended(self, wave: Wave) -> None:
        """Show that another wave is to follow."""
        done = f"{len(wave.outcomes) - len(wave.failures)} done, {len(wave.failures)} failed"
        err.print(f"Wave {wave.number} of {wave.count}: {done}.", soft_wrap=True)


def failure(outcome: Outcome) -> Text:
    """Return which tenant failed and why, in one line."""
    state = f" ({outcome.sqlstate})" if outcome.sqlstate else ""
    return Text.assemble((outcome.key, "bold"), " ", without_passwords(f"{outcome.error}{state}"))
