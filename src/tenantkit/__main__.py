"""The entry point of the command line, also by ``python -m tenantkit``, where the console script is not on the path."""

from __future__ import annotations

from tenantkit.cancellation import handling
from tenantkit.garbage import paused


def main() -> None:
    """Run the command line. A signal ends it from the beginning on, while its modules are imported, too.

    Until the application is imported, no garbage is collected, and what has been imported by then is never looked at,
    at the exit neither: that takes four tenths of the processor time of a short command. See `cli.application`.
    """
    with paused(), handling() as cancellation:
        with cancellation.exiting():
            from tenantkit.cli import main as run  # noqa: PLC0415 - takes about half a second
        run()


if __name__ == "__main__":
    main()
