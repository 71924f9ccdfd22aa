"""Ports for servers that run in other processes."""

from __future__ import annotations

import secrets
import socket
import time
from contextlib import closing, suppress

import pytest


def free_port() -> int:
    """Return a port that nobody uses, below those that the system gives to clients: it stays free until it is used."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)  # not by `random`, which pytest-randomly seeds alike in each process
        with suppress(OSError), closing(socket.create_server(("127.0.0.1", port))):
            return port


def wait_for_port(port: int) -> None:
    """Wait until something listens on *port*."""
    for _ in range(1200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"Nothing listens on port {port}.")
