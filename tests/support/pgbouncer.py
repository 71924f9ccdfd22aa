"""A PgBouncer in transaction mode: every transaction may run on another server connection."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import URL

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

CONFIGURATION = """\
[databases]
{databases} = host={host} port={port} {user}
[pgbouncer]
listen_port = 6432
unix_socket_dir = {folder}
server_connect_timeout = 60
query_wait_timeout = 60
{authentication}
pool_mode = transaction
default_pool_size = {connections}
ignore_startup_parameters = extra_float_digits
"""


ONE_USER = "auth_type = any"
EACH_USER = """\
auth_type = scram-sha-256
auth_file = {folder}/users
auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1"""
PASSWORD = "secret"
"""The password of the URL's user, where the server asks for none."""


@contextmanager
def pgbouncer(
    database: URL, *, connections: int = 2, databases: str = "*", superuser: URL | None = None
) -> Generator[URL]:
    """Start a PgBouncer in front of *databases*, with so few server connections that clients share them.

    The URL is that of *database*. All clients connect to the server as its user; with a *superuser*, who looks
    passwords up, each as its own.
    """
    assert PGBOUNCER is not None
    with tempfile.TemporaryDirectory(prefix="tk") as name:
        folder = Path(name)
        file = folder / "pgbouncer.ini"
        host = database.host or database.query["host"]
        file.write_text(
            CONFIGURATION.format(
                host=host,
                port=database.port or database.query.get("port", 5432),
                user=_one_user(database) if superuser is None else f"auth_user={superuser.username}",
                authentication=ONE_USER if superuser is None else EACH_USER.format(folder=folder),
                folder=folder,
                connections=connections,
                databases=databases,
            )
        )
        users = folder / "users"
        users.write_text(
            "".join(f'"{each.username}" "{each.password or PASSWORD}"\n' for each in (database, superuser) if each)
        )
        command = [PGBOUNCER, str(file)]
        if os.geteuid() == 0:  # which it refuses to run as
            account = _account_for(str(host))
            for each in (folder, file, users):
                os.chown(each, account.pw_uid, account.pw_gid)
            command.insert(1, f"--user={account.pw_name}")
        with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            url = URL.create(
                "postgresql+psycopg",
                database.username,
                None if superuser is None else database.password or PASSWORD,
                database=database.database,
                query={"host": name, "port": "6432"},
            )
            try:
                _wait_for(url, folder / "log")
                yield url
            finally:
                process.terminate()


def _one_user(database: URL) -> str:
    password = f"password='{database.password}'" if database.password else ""
    return f"user={database.username or 'postgres'} {password}"


def driver_arguments(driver: str) -> dict[str, Any]:
    """Return the connection arguments that PgBouncer 1.18 needs, as it knows no prepared statements."""
    if driver != "asyncpg":
        return {"prepare_threshold": None}
    return {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"tk_{uuid4().hex}",
    }


def _account_for(host: str) -> pwd.struct_passwd:
    """Return one that reaches the server: a socket may be in a folder that only its owner may enter."""
    return pwd.getpwuid(Path(host).stat().st_uid) if host.startswith("/") else pwd.getpwnam("nobody")


def _wait_for(url: URL, log: Path) -> None:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    for _ in range(600):
        try:
            psycopg.connect(plain).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"PgBouncer did not start: {log.read_text()}")
