"""Work outside of the revision's connection: noticed and prevented while a revision is rendered.

Python's audit events tell of files, processes and sockets, whichever library opens them; SQLAlchemy's events tell of
engines. What psycopg opens in C has no audit event, so its function is replaced for the time being.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import psycopg
from sqlalchemy import Engine, event

_FILES = frozenset(
    {
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
        "os.utime",
    }
)
_PROCESSES = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen"}
)
_NETWORK = ("ftplib.", "http.client.", "imaplib.", "poplib.", "smtplib.", "socket.", "telnetlib.", "urllib.")
_HARMLESS = frozenset({"socket.__new__", "socket.gethostname"})
"""Events of the modules above that reach no other machine."""
_FOR_WRITING = frozenset("wax+")
_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_notice: ContextVar[Callable[[str], NoReturn] | None] = ContextVar("tenantkit_lint_notice", default=None)
_hooked: list[bool] = []


class OutsideError(Exception):
    """Something was prevented that is no work of the revision's connection."""


@contextmanager
def prevented(notice: Callable[[str], None]) -> Generator[None]:
    """Prevent, in this thread and for the duration of a block, what is done outside of the revision's connection.

    *notice* is called with what it would have been, and `OutsideError` raised where it was to happen.
    """

    def prevent(what: str) -> NoReturn:
        notice(what)
        raise OutsideError(f"it {what}, which is not done while it is linted")

    def connecting(*_: Any) -> None:
        if _notice.get() is prevent:  # in this thread
            prevent("opens a connection of its own")

    def connect(*arguments: Any, **options: Any) -> Any:
        connecting()
        return original(*arguments, **options)

    if not _hooked:
        sys.addaudithook(_hear)  # there is no way to remove one
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


def _hear(name: str, arguments: tuple[Any, ...]) -> None:
    if _notice.get() is not None and (what := _outside(name, arguments)) is not None:
        attempt(what)


def _outside(name: str, arguments: tuple[Any, ...]) -> str | None:
    """Return what an audit event is about, if that is outside of a connection."""
    if name == "open":
        return _writing(*arguments)
    if (name in _FILES or name.startswith("shutil.")) and not _is_cache(arguments[0]):
        return f"changes files ({name})"
    if name in _PROCESSES:
        return f"starts a process ({name})"
    if name.startswith(_NETWORK) and name not in _HARMLESS:
        return f"uses the network ({name})"
    return "opens another database (sqlite3)" if name == "sqlite3.connect" else None


def _writing(path: Any, mode: str | None, flags: int, *_: Any) -> str | None:
    is_writing = bool(_FOR_WRITING & {*mode}) if isinstance(mode, str) else bool(flags & _FLAGS)
    if not is_writing or isinstance(path, int) or path == os.devnull or _is_cache(path):
        return None
    return f"writes to a file ({os.path.basename(os.fsdecode(path))})"  # noqa: PTH119 - it may be bytes


def _is_cache(path: Any) -> bool:
    """Return whether *path* is Python's own, who keeps what it has compiled when a module is imported."""
    return "__pycache__" in str(path)
