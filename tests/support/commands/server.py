"""Forks a process per command from one that has imported what commands import: a tenth of the cost of a new one.

Worker processes of migrations come from it, too. It is run as a script, so that none finds a module of the tests
imported. It ends when its stdin does.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

PRELOADED = (
    "tenantkit.asyncio",
    "tenantkit.drift",
    "tenantkit.drivers",
    "tenantkit.lint",
    "tenantkit.migrations",
    "alembic.command",
    "mako.template",
    "rich._emoji_codes",
    "rich.live",
    "rich.table",
    "typer",
)
"""Packages and modules that commands import. ``tenantkit.cli`` and ``typer.rich_utils`` are not among them: they make
consoles when they are imported, which read the environment and look at the streams."""

REFUSED = b"refused"
"""The answer to a command whose interpreter would have started with other settings."""

_INTERPRETER = ("PYTHON", "COVERAGE_", "LD_", "LC_", "PSYCOPG_")
"""Beginnings of the names of variables that are read when Python starts, or when a preloaded module is imported."""


def main(path: str) -> None:
    """Serve commands at the Unix socket *path*; return in each command's process, where the command has run."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a run blocks signals while it starts a worker, the first perhaps
    preload()
    gc.freeze()  # so that a collection in a child copies fewer pages
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    os.write(1, b"ready\n")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends pytest, which ends this process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the monitors
    while True:
        ready, _, _ = select.select([listener.fileno(), 0], [], [])
        if 0 in ready:
            return
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            _monitor(connection)
            return
        connection.close()


def preload() -> None:
    """Import what most commands import, of tenantkit's packages all modules."""
    for name in PRELOADED:
        module = import_module(name)
        if name.startswith("tenantkit.") and hasattr(module, "__path__"):
            for each in walk_packages(module.__path__, f"{name}."):
                import_module(each.name)


def _monitor(connection: socket.socket) -> None:
    """Run a command in a child, in a process group of its own; end it if the client goes away.

    The client is told the child's number, and in the end its exit code.
    """
    signal.signal(signal.SIGCHLD, lambda *_: None)
    length, fds, _, _ = socket.recv_fds(connection, 4, 4, socket.MSG_CMSG_CLOEXEC)
    with connection.makefile("rb") as stream:
        request = json.loads(stream.read(int.from_bytes(length)))
    if interpreter_settings(request["environment"]) != interpreter_settings(os.environ):
        connection.sendall(REFUSED + b"\n")
        os._exit(0)
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    if not (pid := os.fork()):
        signal.set_wakeup_fd(-1)
        for fd in (woken, wakes, connection.detach()):
            os.close(fd)
        os.setpgid(0, 0)
        _run(request, fds)
        return
    for fd in fds:
        os.close(fd)
    with suppress(OSError):  # it has done so itself, and has ended
        os.setpgid(pid, pid)
    with suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % pid)
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        ready, _, _ = select.select([connection.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 64)
        if connection.fileno() in ready:
            if not (number := connection.recv(1)):  # the client has gone away
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                os._exit(0)
            os.kill(pid, number[0])
    with suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
    os._exit(0)


def interpreter_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of *environment* that a process must have had when it started."""
    return {name: value for name, value in environment.items() if name.startswith(_INTERPRETER)}


def _run(request: dict[str, Any], fds: list[int]) -> None:
    """Become the process of a script, or of code after ``-c``, as Python would have started it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, fd in enumerate(fds):  # which the streams of sys go on to use
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    script, *rest = request["arguments"]
    module = sys.modules["__main__"] = ModuleType("__main__")
    if script == "-c":
        code, *rest = rest
        sys.path[0] = ""
    else:
        code = Path(script).read_bytes()
        sys.path[0] = str(Path(script).parent)
        module.__file__ = script
    sys.argv[:] = [script, *rest]
    exec(compile(code, script, "exec"), module.__dict__)


if __name__ == "__main__":
    main(sys.argv[1])
