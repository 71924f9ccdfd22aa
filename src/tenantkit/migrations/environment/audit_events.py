"""Python's audit events that show work outside of the process: on files, by other processes, in the network.

See "Audit events table" in Python's documentation. libpq raises none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

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
"""Events of these modules that reach no other machine."""
_MODULES = frozenset({".py", ".pyc", ".pyd", ".so"})
_FOR_WRITING = frozenset("wax+")
_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def describe(name: str, arguments: tuple[Any, ...]) -> str | None:
    """Return a description of an audit event; ``None`` if it changes nothing outside of this process."""
    if name == "open":
        return _writing(*arguments)
    if (name in _FILES or name.startswith("shutil.")) and not _is_cache(arguments[0]):
        return f"changes files ({name})"
    if name in _PROCESSES:
        return f"starts a process ({name})"
    if name.startswith(_NETWORK) and name not in _HARMLESS:
        return f"uses the network ({name})"
    return "opens another database (sqlite3)" if name == "sqlite3.connect" else None


def describe_reading(name: str, arguments: tuple[Any, ...], known: Path) -> str | None:
    """Return a description of an audit event that reads a file; ``None`` for Python's modules, and files in *known*."""
    path = arguments[0] if name == "open" else None
    if path is None or isinstance(path, int):  # an open file
        return None
    file = Path(os.fsdecode(path)).absolute()
    return None if file.suffix in _MODULES or file.is_relative_to(known) else f"reads a file ({file.name})"


def _writing(path: Any, mode: str | None, flags: int, *_: Any) -> str | None:
    is_writing = bool(_FOR_WRITING & {*mode}) if isinstance(mode, str) else bool(flags & _FLAGS)
    if not is_writing or isinstance(path, int) or path == os.devnull or _is_cache(path):
        return None
    return f"writes to a file ({os.path.basename(os.fsdecode(path))})"  # noqa: PTH119 - it may be bytes


def _is_cache(path: Any) -> bool:
    """Return whether *path* is in Python's cache of compiled modules, which an import writes."""
    return "__pycache__" in str(path)
