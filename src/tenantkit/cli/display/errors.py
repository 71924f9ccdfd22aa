"""Error messages of commands: one line, without a password; with ``--verbose``, the traceback above it."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.text import Text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from tenantkit.cli.display.output import discard, err, printable
from tenantkit.exceptions import MigrationError, TenantkitError
from tenantkit.exceptions.base import as_clause
from tenantkit.user_code import describe as describe_error
from tenantkit.user_code import exited, get_place


class UsageError(TenantkitError):
    """The command line is not valid."""


_PASSWORD = re.compile(
    r"""(?<=://)([^\s:/@]*:)[^\s@]+(?=@)|(password['"]?\s*[=:]\s*)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s&'",)]+)""",
    re.IGNORECASE,
)
"""A password in a URL, a connection string, or the repr of an argument or a dictionary."""

_NO_REGISTRY = "Run 'tenantkit migrate' first: it creates the registry and the shared tables."
_OF_REGISTRY = re.compile(r'"tenantkit[."]')
_HINTS: dict[str | None, str] = {
    "42P01": _NO_REGISTRY,
    "3F000": _NO_REGISTRY,
    "42501": "Grant it to the database user, or connect as the owner of the database.",
    "25006": "Connect to the primary, and as a user whose transactions are not read-only.",
}
"""Advice by SQLSTATE (PostgreSQL, appendix A)."""

_CONNECTION_HINTS = {
    "password": "Correct the user or the password in the database URL.",
    "authentication": "Correct the user or the password in the database URL.",
    "does not exist": "Create it, or correct the database URL.",
    "": "Start the server, or correct the database URL.",
}
"""Advice by a part of the message: failures to connect have no SQLSTATE."""


def reporting(command: Callable[..., object]) -> Callable[..., None]:
    """Wrap a *command* so that an error is printed and sets the exit code: 1, or 2 for bad usage."""

    @wraps(command)
    def run(**arguments: Any) -> None:
        try:
            command(**arguments)
        except typer.Exit:
            raise
        except (KeyboardInterrupt, typer.Abort):
            raise
        except BrokenPipeError as error:  # what reads stdout has enough of it, as `head` has
            discard(sys.stdout)
            raise typer.Exit(1) from error
        except BaseException as error:
            # This includes SystemExit in the application's code, whose exit code may be 0.
            if arguments["context"].obj.verbose:
                err.print(Text(without_passwords(traceback.format_exc())), soft_wrap=True)
            print_error(describe(error))
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error

    return run


def print_error(message: str) -> None:
    """Print a *message* as one line on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), printable(without_passwords(message))), soft_wrap=True)


def describe(error: BaseException) -> str:
    """Return a description of an error, and advice, in one line."""
    match error:
        case MigrationError() if error.report.shared is not None and not error.report.shared.ok:
            text = f"The shared tables could not be migrated, so no tenant was: {error.report.shared.reason}"
        case TenantkitError():
            text = str(error)
        case _ if not isinstance(error, Exception):
            text = str(exited("The application", f"raised {describe_error(error)}"))
        case DBAPIError(orig=BaseException() as original):
            text = _describe_database_error(original, is_away=_is_away(error))
        case SQLAlchemyError():
            text = f"{type(error).__name__}: {error}"
        case _:
            text = as_clause(describe_error(error)) + ". Run the command with -v for the traceback."
    place = str(get_place(error) or "")
    return " ".join(text.split()) + (f" It happened in {place}." if place and place not in text else "")


def _is_away(error: DBAPIError) -> bool:
    """Return whether an error without SQLSTATE is about the connection, rather than a statement's arguments."""
    return isinstance(error, OperationalError) or error.connection_invalidated


def _describe_database_error(error: BaseException, *, is_away: bool) -> str:
    state: str | None = getattr(error, "sqlstate", None)
    message, *_ = str(error).splitlines() or [""]
    if state is None and not is_away:
        return f"{as_clause(describe_error(error))}. The driver refused it. Run the command with -v for the traceback."
    if state is None:
        hint = next(hint for piece, hint in _CONNECTION_HINTS.items() if piece in str(error))
        return f"The database cannot be reached: {_reason(str(error))}. {hint}"
    hint = _HINTS.get(state, "")
    if hint is _NO_REGISTRY and not _OF_REGISTRY.search(message):  # some other table, or the placeholder
        hint = ""
    return f"The database refused: {as_clause(message)} ({state}). {hint}"


def _reason(message: str) -> str:
    """Return one line of libpq's message about a failed connection, which may have a line for each address."""
    found = re.findall(r"(connection to server .*)", message) or message.splitlines()[:1]
    return as_clause(found[0])


def in_one_line(text: str) -> str:
    """Return *text* without passwords and control characters."""
    return " ".join(printable(without_passwords(text)).split())


def without_passwords(text: str) -> str:
    """Return *text* with the password of every URL in it replaced by stars."""
    return _PASSWORD.sub(r"\1\2***", text)
