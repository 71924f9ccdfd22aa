"""How people see a run while it goes on."""

from __future__ import annotations

from rich.text import Text

from tenantkit.migrations import Outcome, StepProgress


class View:
    """Shows a run. Every method does nothing, for views to override."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, however it went."""

    def finished(self, outcome: Outcome) -> None:
        """Show that one tenant is done."""

    def failed(self, text: Text) -> None:
        """Show that one tenant has failed."""

    def advanced(self, step: StepProgress) -> None:
        """Show how far a long step of one tenant is."""
