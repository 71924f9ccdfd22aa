"""The display of a run for people."""

from __future__ import annotations

from rich.text import Text

from tenantkit.migrations import Outcome, StepProgress


class View:
    """Base class of views. Its methods do nothing."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, also after an error."""

    def finished(self, outcome: Outcome) -> None:
        """Show the outcome of one tenant."""

    def failed(self, text: Text) -> None:
        """Show a failure."""

    def advanced(self, step: StepProgress) -> None:
        """Show the progress of a long step of one tenant."""
