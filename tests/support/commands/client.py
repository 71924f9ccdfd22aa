"""Sends a command to the fork server. Run as a script, it stands for the command; it imports little, to start fast."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence


def send(
    path: str, arguments: Sequence[str], cwd: str, environment: Mapping[str, str], fds: Sequence[int]
) -> socket.socket:
    """Have the script ``arguments[0]``, or code after ``-c``, run with *fds* as its stdin, stdout, stderr and others.

    The connection answers with the number of the process, and then with its exit code, or that it is refused; see
    `answer`. It takes numbers of signals, a byte each; closing it kills the command.
    """
    request = json.dumps({"arguments": arguments, "cwd": cwd, "environment": dict(environment)}).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    socket.send_fds(connection, [len(request).to_bytes(4)], fds)
    connection.sendall(request)
    return connection


def answer(connection: socket.socket) -> bytes:
    """Return the next answer; none if the connection was closed."""
    line = b""
    while (byte := connection.recv(1)) not in (b"", b"\n"):
        line += byte
    return line


def main(path: str, arguments: Sequence[str]) -> int:
    """Run a command in place of this process."""
    connection = send(path, arguments, os.getcwd(), os.environ, (0, 1, 2))  # noqa: PTH109 - pathlib is slow to import
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
    if answer(connection) == b"refused":
        os.execv(arguments[0], arguments)  # noqa: S606 - it is the command itself
    code = int(answer(connection))
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
