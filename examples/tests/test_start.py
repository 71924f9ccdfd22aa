"""The commands that serve the examples."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL

from examples.conftest import own_them
from examples.tracker import sample
from examples.tracker.accounts import close_account
from examples.tracker.app import make_tenancy
from tests.support.copies import Databases
from tests.support.ports import free_port, wait_for_port
from tests.support.processes import unmeasured

pytestmark = pytest.mark.all_cases

PROJECT = Path(__file__).parents[2]


@contextmanager
def _serving(app: str, database: URL, **environment: str) -> Generator[tuple[int, str]]:
    """Serve an example, yield its port and its output, and stop it."""
    port = free_port()
    environ = {
        **unmeasured(),
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        "TRACKER_DATABASE_URL": database.render_as_string(hide_password=False),
        "TRACKER_SECRET_KEY": "a key for tests",
        **environment,
    }
    command = [sys.executable, "-m", f"examples.{app}"]
    with subprocess.Popen(command, cwd=PROJECT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = ""
        try:
            while "password of all sample users" not in printed:
                line = process.stdout.readline()
                assert line, f"it ended: {printed}"
                printed += line
            wait_for_port(port)
            yield port, printed
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture
def urls(tracker_url: URL, databases: Databases) -> tuple[URL, URL]:
    """A database as its owner and the application reach it. Both are ordinary roles."""
    owner, application = databases.make_role(options="CREATEDB"), databases.make_role(options="NOINHERIT")
    databases.let_provision(owner)
    own_them(tracker_url, owner)
    return tracker_url.set(username=owner), tracker_url.set(username=application)


@pytest.mark.parametrize("isolation", ["schema", "row", "database"])
def test_an_empty_database_gets_tenants_that_are_served(urls: tuple[URL, URL], isolation: str) -> None:
    keys = [company.key for company in sample.COMPANIES[:3]]
    owner, application = urls
    environment = {
        "TRACKER_ISOLATION": isolation,
        "TRACKER_APPLICATION_URL": application.render_as_string(hide_password=False),
    }
    for app in ("flask_app", "fastapi_app"):  # the second finds the tenants of the first
        with _serving(app, owner, **environment) as (port, printed):
            assert re.findall(r"/t/([\w-]+)/", printed) == keys
            assert f"http://{keys[0]}.localhost:{port}/" in printed
            form = {"email": re.findall(r"log in as (\S+)", printed)[0], "password": sample.PASSWORD}
            new = {
                "email": f"{app}@new.example",
                "name": "New",
                "password": "correct horse battery",
                "tenant_key": f"new-{app}".replace("_", "-"),
                "tenant_name": "New",
            }
            root = f"http://127.0.0.1:{port}"
            place = f"{root}/t/{keys[0]}"
            with httpx2.Client(timeout=60, trust_env=False) as client:
                if app == "flask_app":
                    answer = client.post(
                        f"{place}/login", data={**form, "csrf_token": _token(client, f"{place}/login")}
                    )
                    assert answer.headers["location"].endswith(f"/t/{keys[0]}/projects")
                    assert "<h1" in client.get(f"{place}/projects").text
                    answer = client.post(
                        f"{root}/sign-up", data={**new, "csrf_token": _token(client, f"{root}/sign-up")}
                    )
                    assert answer.status_code == 302
                    assert "First steps" in client.get(f"{root}/t/new-flask-app/projects").text
                else:
                    assert client.post(f"{place}/api/login", json=form).status_code == 200
                    assert len(client.get(f"{place}/api/projects").json()) == 3
                    assert client.post(f"{root}/api/sign-up", json=new).status_code == 201
                    assert [each["name"] for each in client.get(f"{root}/t/new-fastapi-app/api/projects").json()] == [
                        "First steps"
                    ]
    with closing(make_tenancy(owner, listen=False)) as tenancy:
        assert {tenant.isolation for tenant in tenancy.list()} == {isolation}
        assert tenancy.diagnose() == []
        for tenant in tenancy.list():
            close_account(tenancy, tenant.key)


def _token(client: httpx2.Client, page: str) -> str:
    [token, *_] = re.findall(r'name="csrf_token"[^>]* value="([^"]+)"', client.get(page).text)
    return token
