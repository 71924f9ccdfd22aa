"""Events of a run for programs: one JSON object per line on stdout."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tenantkit.cli.display.errors import in_one_line
from tenantkit.cli.display.output import discard, json_text
from tenantkit.cli.display.reporting import outcome_as_json
from tenantkit.migrations import Outcome, StepProgress, Waiting, Wave


class Events:
    """Writes events to stdout. The last is a ``report``; an ``error`` if the run did not begin; or ``interrupted``."""

    def __init__(self) -> None:
        # The present stream: a live display replaces sys.stdout later.
        self._out = sys.stdout
        self._is_read = True

    @property
    def are_seen(self) -> bool:
        """Whether stdout is a terminal, where a live display would mix with the events."""
        return self._out.isatty()

    def started(self, total: int) -> None:
        """Write the number of tenants to migrate."""
        self._write("started", {"tenants": total})

    def finished(self, outcome: Outcome) -> None:
        """Write the outcome of one tenant."""
        self._write("outcome", outcome_as_json(outcome))

    def advanced(self, step: StepProgress) -> None:
        """Write the progress of a long step of one tenant."""
        self._write("step", asdict(step))

    def waiting(self, waiting: Waiting) -> None:
        """Write the sessions for which one tenant waits."""
        self._write("waiting", asdict(waiting))

    def lost(self, outcome: Outcome) -> None:
        """Write an outcome that the server has lost."""
        self._write("lost", outcome_as_json(outcome))

    def wave_ended(self, wave: Wave) -> None:
        """Write that a wave is done and another one follows."""
        counts = {"done": wave.done, "failed": len(wave.failures)}
        self._write("wave", {"number": wave.number, "count": wave.count, **counts})

    def shared(self, outcome: Mapping[str, Any] | None) -> None:
        """Write the outcome of the shared tables, for commands that concern nothing else."""
        self._write("shared", {"outcome": outcome})

    def ended(self, report: Mapping[str, Any]) -> None:
        """Write the report."""
        self._write("report", report)

    def failed(self, error: str) -> None:
        """Write the error that prevented a report."""
        self._write("error", {"error": in_one_line(error)})

    def interrupted(self, done: int, total: int) -> None:
        """Write that the run was interrupted, and its progress."""
        self._write("interrupted", {"done": done, "tenants": total})

    def _write(self, event: str, values: Mapping[str, Any]) -> None:
        if not self._is_read:
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json_text({"event": event, "time": time, **values})
        try:
            self._out.write(f"{line}\n")
            self._out.flush()
        except BrokenPipeError:  # the migration continues without a reader
            self._is_read = False
            discard(self._out)
