"""Work outside of the revision's connection: detected and prevented while a revision is rendered.

Python's audit events report files, processes and sockets, whichever library opens them; SQLAlchemy's events report
engines. psycopg's connections, opened in C, have no audit event, so its function is replaced during the rendering.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import psycopg
from sqlalchemy import Engine, event

from tenantkit.migrations.environment.audit_events import describe

_notice: ContextVar[Callable[[str], NoReturn] | None] = ContextVar("tenantkit_lint_notice", default=None)
_hooked: list[bool] = []


class OutsideError(Exception):
    """Work outside of the revision's connection was prevented."""


@contextmanager
def prevented(notice: Callable[[str], None]) -> Generator[None]:
    """Prevent work outside of the revision's connection, in this thread and for the duration of a block.

    *notice* is called with a description, and `OutsideError` is raised in the code that would do it.
    """

    def prevent(what: str) -> NoReturn:
        notice(what)
        raise OutsideError(f"it {what}, which lint prevents")

    def connecting(*_: Any) -> None:
        if _notice.get() is prevent:  # in this thread
            prevent("opens a connection of its own")

    def connect(*arguments: Any, **options: Any) -> Any:
        connecting()
        return original(*arguments, **options)

    if not _hooked:
        sys.addaudithook(_audit)  # a hook cannot be removed
        _hooked.append(True)
    original, psycopg.connect = psycopg.connect, connect
    with ExitStack() as stack:
        stack.callback(setattr, psycopg, "connect", original)
        for name in ("do_connect", "engine_connect"):
            event.listen(Engine, name, connecting)
            stack.callback(event.remove, Engine, name, connecting)
        stack.callback(_notice.reset, _notice.set(prevent))
        yield


def attempt(what: str) -> None:
    """Prevent *what*, if work outside of the revision's connection is prevented here."""
    if (prevent := _notice.get()) is not None:
        prevent(what)


def _audit(name: str, arguments: tuple[Any, ...]) -> None:
    if _notice.get() is not None and (what := describe(name, arguments)) is not None:
        attempt(what)
