"""Progress of a run: on stderr for people, as events on stdout for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import monotonic
from types import TracebackType
from typing import Self

from rich.text import Text
from typing_extensions import override

from tenantkit.cli.display.errors import in_one_line
from tenantkit.cli.display.events import Events
from tenantkit.cli.display.live import LiveView, describe_counts, describe_pace, describe_step
from tenantkit.cli.display.output import err
from tenantkit.cli.display.summary import count
from tenantkit.cli.display.tally import Tally
from tenantkit.cli.display.view import View
from tenantkit.migrations import Outcome, Progress, StepProgress, Waiting, Wave

_EACH = 100
"""Maximum number of tenants with a line each, without a terminal. For more, there is a line every `_PAUSE`."""
_PAUSE = 5.0
"""Seconds between two lines."""
_PRINTED_FAILURES = 20
"""Maximum number of failures printed during a run; the summary has all."""


class FleetProgress(Progress):
    """Counts outcomes and shows progress: live at a terminal, in lines elsewhere; prints failures as they occur."""

    def __init__(self, doing: str, events: Events | None = None) -> None:
        self.tally = Tally()
        self._events = events
        # With FORCE_COLOR, which CI sets, rich takes any file for a terminal.
        is_live = err.is_terminal and not err.is_dumb_terminal and sys.stderr.isatty()
        if events is not None and events.are_seen:
            is_live = False
        self._view: View = LiveView(doing, self.tally) if is_live else Lines(self.tally)

    def __enter__(self) -> Self:
        self._view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._view.stop()

    @override
    def started(self, total: int) -> None:
        """Set the number of tenants to migrate."""
        self.tally.start(total)
        if self._events is not None:
            self._events.started(total)

    @override
    def finished(self, outcome: Outcome) -> None:
        """Show the outcome of one tenant."""
        self.tally.add(outcome)
        if self._events is not None:
            self._events.finished(outcome)
        if outcome.ok:
            self._view.finished(outcome)
        elif self.tally.failed <= _PRINTED_FAILURES:
            self._view.failed(Text.assemble(("failed ", "bold red"), failure(outcome)))
            if self.tally.failed == _PRINTED_FAILURES:
                self._view.failed(Text("Further failures are only counted; the summary has them.", style="dim"))

    @override
    def advanced(self, step: StepProgress) -> None:
        """Show the progress of a long step of one tenant."""
        self.tally.step = step
        if self._events is not None:
            self._events.advanced(step)
        self._view.advanced(step)

    @override
    def waiting(self, waiting: Waiting) -> None:
        """Show the sessions for which one tenant waits."""
        if self._events is not None:
            self._events.waiting(waiting)
        err.print(Text.assemble((waiting.key, "bold"), " ", in_one_line(str(waiting))), soft_wrap=True)

    @override
    def lost(self, outcomes: Sequence[Outcome]) -> None:
        """Show the tenants that must be migrated again."""
        for outcome in outcomes:
            self.tally.remove(outcome)
            if self._events is not None:
                self._events.lost(outcome)
        err.print(
            f"The server crashed and lost the last migrations: {count(len(outcomes))} to migrate again.", soft_wrap=True
        )

    @override
    def wave_ended(self, wave: Wave) -> None:
        """Show that a wave is done and another one follows."""
        if self._events is not None:
            self._events.wave_ended(wave)
        done = f"{wave.done} done, {len(wave.failures)} failed"
        err.print(f"Wave {wave.number} of {wave.count}: {done}.", soft_wrap=True)


class Lines(View):
    """A view without a terminal: a line for each tenant, or for a large fleet every few seconds."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._last = monotonic()

    @override
    def finished(self, outcome: Outcome) -> None:
        """Print one tenant's outcome, or the number of finished tenants."""
        tally = self._tally
        if tally.total <= _EACH:
            place = f"[{tally.done:>{len(str(tally.total))}}/{tally.total}]"
            step = f"{outcome.from_revision or 'base'} -> {outcome.to_revision or 'base'}"
            err.print(f"{place} {outcome.key} {step} in {outcome.duration_ms} ms", soft_wrap=True)
        elif (now := monotonic()) - self._last >= _PAUSE or tally.done == tally.total:
            self._last = now
            err.print(f"{describe_pace(tally)}: {describe_counts(tally)}", soft_wrap=True)

    @override
    def failed(self, text: Text) -> None:
        """Print a failure."""
        err.print(text, soft_wrap=True)

    @override
    def advanced(self, step: StepProgress) -> None:
        """Print the progress of a long step every few seconds."""
        if (now := monotonic()) - self._last >= _PAUSE:
            self._last = now
            err.print(describe_step(step), soft_wrap=True)


def failure(outcome: Outcome) -> Text:
    """Return the key of a tenant and the reason for its failure, in one line."""
    state = f" ({outcome.sqlstate})" if outcome.sqlstate else ""
    place = f", in {outcome.place}" if outcome.place else ""
    return Text.assemble((outcome.key, "bold"), " ", in_one_line(f"{outcome.error}{state}{place}"))
