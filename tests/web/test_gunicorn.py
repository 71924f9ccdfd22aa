"""Servers that fork a loaded application. The packages gunicorn and gevent are needed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import URL, Engine, text

from tests.support.processes import until

pytest.importorskip("gunicorn")
pytest.importorskip("gevent")

APP = """
import os
from flask import Flask
from sqlalchemy import select
from tenantkit import Tenancy
from tenantkit.flask import TenantKit
from tenantkit.resolvers import Header
from tests.support.models import APPLICATION
from tests.support.models import Project

tenancy = Tenancy(os.environ["DATABASE_URL"], cache_ttl=10_000, **APPLICATION)
tenancy.get("acme")  # before the fork
assert tenancy.lookups.listener.listening.wait(30)

app, kit = Flask(__name__), TenantKit()
kit.init_app(app, tenancy, resolver=Header("X-Tenant"))

@app.get("/")
def index():
    kit.session.scalars(select(Project)).all()
    return f"{kit.session.tenant.name} {tenancy.lookups.listener.listening.is_set()}"
"""


@pytest.mark.parametrize("worker", ["gevent", "sync", "gthread"])
def test_workers_of_a_preloaded_application_serve_and_are_notified(
    database: URL, engine: Engine, tmp_path: Path, worker: str
) -> None:
    (tmp_path / "served.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    paths = [str(tmp_path), str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--worker-class", worker),
            # A gevent worker that gets SIGTERM during its start does not end by itself, with or without tenantkit.
            *("--bind", address, "--no-control-socket", "--graceful-timeout", "2", "served:app"),
        ],
        env={
            **os.environ,
            "DATABASE_URL": database.render_as_string(hide_password=False),
            "PYTHONPATH": os.pathsep.join(paths),
        },
        stderr=subprocess.DEVNULL,
    )

    def page() -> Any:
        request = Request(f"http://{address}/", headers={"X-Tenant": "acme"})
        try:
            with urlopen(request, timeout=10) as response:  # noqa: S310 - the test's own server
                return response.read().decode()
        except ConnectionError:
            return None
        except URLError as error:
            if isinstance(error.reason, ConnectionError):
                return None
            raise

    try:
        until(page)
        until(lambda: {page() for _ in range(10)} == {"acme True"})
        with engine.begin() as connection:
            connection.execute(text("UPDATE tenantkit.tenants SET name = 'changed'"))
        until(lambda: {page() for _ in range(10)} == {"changed True"})
    finally:
        server.terminate()
        server.wait(30)
