"""The entry point of the command line, also by ``python -m tenantkit``, where the console script is not on the path."""

from __future__ import annotations

from tenantkit.cancellation import handling


def main() -> None:
    """Run the command line. A signal ends it from the beginning on, while its modules are imported, too."""
    with handling() as cancellation:
        with cancellation.exiting():
            from tenantkit.cli import main as run  # noqa: PLC0415 - takes about half a second
        run()


if __name__ == "__main__":
    main()
