"""Behind PgBouncer in transaction mode, every transaction may run on another server connection."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import URL, create_engine, select, text

from tenantkit import Tenancy
from tests.support.models import Project, Task

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
KEYS = [f"tenant{number}" for number in range(6)]

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="needs PgBouncer (Debian: pgbouncer)")

CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user} {password}
[pgbouncer]
listen_port = 6432
unix_socket_dir = {folder}
server_connect_timeout = 5
query_wait_timeout = 20
auth_type = any
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits
"""


@pytest.fixture
def pooled(database: URL) -> Generator[URL]:
    """The test's database, behind a PgBouncer with two server connections."""
    assert PGBOUNCER is not None
    with tempfile.TemporaryDirectory(prefix="tk") as name:
        folder = Path(name)
        file = folder / "pgbouncer.ini"
        host = database.host or database.query["host"]
        file.write_text(
            CONFIGURATION.format(
                host=host,
                port=database.port or database.query.get("port", 5432),
                user=database.username or "postgres",
                password=f"password='{database.password}'" if database.password else "",
                folder=folder,
            )
        )
        command = [PGBOUNCER, str(file)]
        if os.geteuid() == 0:  # which it refuses to run as
            account = _account_for(str(host))
            for each in (folder, file):
                os.chown(each, account.pw_uid, account.pw_gid)
            command.insert(1, f"--user={account.pw_name}")
        with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            url = URL.create(
                "postgresql+psycopg",
                database.username,
                database=database.database,
                query={"host": name, "port": "6432"},
            )
            try:
                _wait_for(url, folder / "log")
                yield url
            finally:
                process.terminate()


def test_no_request_sees_another_tenant(
    pooled: URL, tenancy: Tenancy, make_any_tenancy: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    for key in KEYS:
        tenancy.create(key, seed=lambda session: session.add(Project(name=session.tenant.key)))
    arguments: dict[str, Any] = {"prepare_threshold": None}
    if "asyncpg" in request.node.name:
        arguments = {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"tk_{uuid4().hex}",
        }
    options = {"pool_size": 4, "max_overflow": 0, "connect_args": arguments}
    direct = {} if request.node.name.endswith("[sync]") else {"sync_database": tenancy.engine}
    behind = make_any_tenancy(database=pooled, engine_options=options, **direct)
    backends: set[int] = set()

    def serve(number: int) -> None:
        key = KEYS[number % len(KEYS)]
        with behind.session(key) as session:
            assert session.scalars(select(Project.name)).all() == [key]
            session.add(Task(title=key, project_id=1))
            session.commit()
            assert session.execute(text("SELECT name FROM project")).scalars().all() == [key]
            session.rollback()
            assert set(session.scalars(select(Task.title))) == {key}
            backends.add(session.scalar(text("SELECT pg_backend_pid()")))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(serve, range(120)))

    assert len(backends) == 2, "the requests shared server connections"
    with tenancy.engine.connect() as connection:
        for key in KEYS:
            titles = connection.exec_driver_sql(f'SELECT title FROM "t_{key}".task').scalars().all()
            assert titles == [key] * 20


def test_a_setting_of_the_session_would_go_to_others(pooled: URL) -> None:
    """What the test above would meet if tenantkit set the path for the session: this PgBouncer shows it."""
    engine = create_engine(pooled, connect_args={"prepare_threshold": None})
    with engine.connect() as one, engine.connect() as other:
        one.exec_driver_sql("SET search_path = somewhere")
        one.commit()
        assert other.exec_driver_sql("SHOW search_path").scalar() == "somewhere"
    engine.dispose()


def _account_for(host: str) -> pwd.struct_passwd:
    """Return one that reaches the server: a socket may be in a folder that only its owner may enter."""
    return pwd.getpwuid(Path(host).stat().st_uid) if host.startswith("/") else pwd.getpwnam("nobody")


def _wait_for(url: URL, log: Path) -> None:
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    for _ in range(200):
        try:
            psycopg.connect(plain).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"PgBouncer did not start: {log.read_text()}")
