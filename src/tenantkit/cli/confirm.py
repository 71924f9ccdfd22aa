"""Confirmation by a person at the terminal."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from tenantkit.cli.display.errors import UsageError
from tenantkit.cli.display.output import err


def confirm(question: str) -> None:
    """Return if a person answers yes.

    :raises typer.Exit: with code 1 if the answer is no.
    :raises UsageError: if stdin is no terminal.
    """
    if _ask(f"{question} [y/N]: ").lower() not in {"y", "yes"}:
        _stop()


def confirm_by_typing(word: str, question: str) -> None:
    """Return if a person types *word*; raises as `confirm` does."""
    if _ask(f"{question}: ") != word:
        _stop()


def require_terminal() -> None:
    """Raise `UsageError` if there is no terminal, so that nothing can be confirmed."""
    if not sys.stdin.isatty():
        raise UsageError("This command needs confirmation, and stdin is no terminal. Pass --yes to confirm it.")


def _ask(question: str) -> str:
    require_terminal()
    try:
        err.print(question, end="", soft_wrap=True)
        # Without a prompt: input() would print it to stdout, which is for data.
        return input().strip()
    except (EOFError, KeyboardInterrupt):
        err.print()
        return ""


def _stop() -> NoReturn:
    err.print("Nothing was done.")
    raise typer.Exit(1)
