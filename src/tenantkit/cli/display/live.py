"""Live display of a run at a terminal: a few lines at the bottom."""

from __future__ import annotations

from math import ceil

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from tenantkit.cli.display.output import err, one_line
from tenantkit.cli.display.tally import Tally
from tenantkit.cli.display.view import View
from tenantkit.migrations import StepProgress

_DRAWN_PER_SECOND = 8
_WIDEST_BAR = 40
"""Maximum width of the bar in characters."""
_NARROWEST_BAR = 8
"""Width in characters below which no bar is drawn."""


class LiveView(View):
    """Draws a `Tally` in a separate thread, so that no tenant waits for the display."""

    def __init__(self, doing: str, tally: Tally) -> None:
        self._doing = doing
        self._tally = tally
        self._live = Live(console=err, get_renderable=self._draw, refresh_per_second=_DRAWN_PER_SECOND, transient=True)

    @override
    def start(self) -> None:
        """Start the display."""
        self._live.start()

    @override
    def stop(self) -> None:
        """Remove the display."""
        self._live.stop()

    @override
    def failed(self, text: Text) -> None:
        """Print a failure above the display, cut at the width of the terminal: the summary has the whole text."""
        err.print(text, no_wrap=True, overflow="ellipsis", crop=True)

    def _draw(self) -> RenderableType:
        tally = self._tally
        if not tally.total:
            return one_line(f"{self._doing} ...")
        slowest = ", ".join(f"{key} {took} ms" for key, took in tally.slowest)
        step = tally.step  # read once: another thread may clear it
        details = [step and describe_step(step), describe_counts(tally), slowest and f"slowest: {slowest}"]
        return Group(self._bar(), *(one_line(Text(f"  {detail}", style="dim")) for detail in details if detail))

    def _bar(self) -> RenderableType:
        tally = self._tally
        before, after = f"{self._doing} ", f" {describe_pace(tally)}"
        width = min(_WIDEST_BAR, err.width - len(before) - len(after))
        if width < _NARROWEST_BAR:
            return one_line(before + after.lstrip())
        row = Table.grid()
        row.add_row(before, ProgressBar(tally.total, tally.done, width=width), after)
        return row


def describe_pace(tally: Tally) -> str:
    """Return the number of finished tenants, the rate and the remaining time."""
    pace = f"{tally.done}/{tally.total}"
    if (rate := tally.rate()) is None:
        return pace
    pace += f", {rate:.0f}/s" if rate >= 10 else f", {rate:.1f}/s"  # noqa: PLR2004 - where the fraction matters
    left = tally.seconds_left(rate)
    return pace if not left else f"{pace}, {_clock(left)} left"


def describe_counts(tally: Tally) -> str:
    """Return the number of tenants by engine and outcome."""
    counts = [f"{count} by {engine}" for engine, count in sorted(tally.engines.items()) if count]
    counts += [f"{tally.failed} failed"] if tally.failed else []
    counts += [f"{tally.retried} waited for locks"] if tally.retried else []
    return ", ".join(counts)


def describe_step(step: StepProgress) -> str:
    """Return the progress of a long step."""
    return f"{step.key}: {step.step}, {step.rows:,} rows set, {step.percent} % done"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
