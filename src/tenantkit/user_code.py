"""Boundaries around code of the application: revisions, ``env.py``, seeds, checks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from tenantkit.exceptions import TenantkitError
from tenantkit.exceptions.base import as_clause

_KILLED = "GreenletExit"
"""The name of the exception by which a greenlet is killed from outside; by name, as greenlet need not be installed."""
_PLACE = "_tenantkit_place"
_ENDINGS = ("_exit", "execv", "execve")
"""Functions of `os` that end the process; the other functions of the exec family call these."""


class ProcessExitError(TenantkitError):
    """User code tried to end the process, for example by SystemExit."""


class ContainedExits:
    """A context manager for a block of user code that raises `ProcessExitError` in place of SystemExit and the like.

    Otherwise an exit with code 0 would count as success. KeyboardInterrupt passes, and so does the end of a greenlet.
    The cancellation of a task of asyncio does not: user code runs in a thread, so the task can only be its own.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Begin the block."""

    # No generator: it could not tell a GeneratorExit of the block from one of its own.
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Replace an exception that would end the process."""
        if error is None or isinstance(error, Exception | KeyboardInterrupt) or type(error).__name__ == _KILLED:
            return
        raise exited(self._where, f"raised {describe(error)}") from error


@contextmanager
def without_exits(where: str) -> Generator[None]:
    """Make the functions of `os` that end a process raise an exception during a block of user code.

    They raise in this thread only, and not in a process that it forks. The functions belong to the whole process, so
    two threads cannot be in such blocks at the same time.
    """
    owner = os.getpid(), threading.get_ident()

    def refusing(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*arguments: Any) -> Any:
            if (os.getpid(), threading.get_ident()) == owner:
                raise exited(where, f"called os.{name}()")
            return original(*arguments)

        return refuse

    originals: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in _ENDINGS}
    for name, original in originals.items():
        setattr(os, name, refusing(name, original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def exited(where: str, did: str) -> ProcessExitError:
    """Return the error for user code that tried to end the process; *did* is the verb phrase of the message."""
    return ProcessExitError(f"{where} {did}, which would end the process. Return instead, or raise an Exception.")


def set_place(error: BaseException, place: object) -> None:
    """Attach to *error* its place in user code; the place's ``str`` is for messages."""
    setattr(error, _PLACE, place)


def get_place(error: BaseException | None) -> object | None:
    """Return the place attached to *error*, or to an error that it was raised from; ``None`` if there is none."""
    seen: list[BaseException] = []  # the causes may form a circle
    while error is not None and not any(error is each for each in seen):
        if (place := getattr(error, _PLACE, None)) is not None:
            return place  # type: ignore[no-any-return]
        seen.append(error)
        error = error.__cause__
    return None


def describe_place(revision: str | None, file: str | None, line: int | None) -> str:
    """Return a place in words: ``revision 0002, migrations/tenant/0002_notes.py, line 12``."""
    parts = (
        None if revision is None else f"revision{'s' if ' ' in revision else ''} {revision}",
        file,
        None if line is None else f"line {line}",
    )
    return ", ".join(part for part in parts if part is not None)


def with_place(message: str, error: BaseException) -> str:
    """Return *message* with the place attached to *error*, if there is one."""
    place = str(get_place(error) or "")
    return f"{as_clause(message)} ({place})" if place else message


def describe(error: BaseException) -> str:
    """Return the type and the first line of an error's text, without characters that a database cannot store."""
    first, *_ = text_of(error).splitlines() or [""]
    return storable(f"{type(error).__name__}: {first}".removesuffix(": "))


def text_of(error: BaseException) -> str:
    """Return an error's text, which is user code too: the empty string if its ``__str__`` raises."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the type is known all the same
        return ""


def storable(text: str) -> str:
    """Return *text* without NUL and lone surrogates, which PostgreSQL's text type cannot hold."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
