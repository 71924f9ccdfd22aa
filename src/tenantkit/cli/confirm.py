"""Asking before something is lost."""

from __future__ import annotations

import sys

import typer

from tenantkit.cli.errors import UsageError
from tenantkit.cli.output import err


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if a person says so, or *yes* was given.

    :raises typer.Exit: with code 1 if the answer is no.
    :raises UsageError: if there is nobody to ask.
    """
    if yes:
        return
    _require_terminal()
    if not typer.confirm(question, err=True):
        _stop()


def confirm_by_typing(word: str, question: str, *, yes: bool) -> None:
    """Go on only if a person types *word*, or *yes* was given; raises as `confirm` does."""
    if yes:
        return
    _require_terminal()
    if typer.prompt(question, err=True, default="", show_default=False) != word:
        _stop()


def _require_terminal() -> None:
    if not sys.stdin.isatty():
        raise UsageError("This asks for confirmation, and there is no terminal to ask at. Pass --yes to go on without.")


def _stop() -> None:
    err.print("Nothing was done.")
    raise typer.Exit(1)
