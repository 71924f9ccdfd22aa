"""The commands that serve the examples."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL

from examples.tracker import sample
from tests.support.ports import free_port, wait_for_port
from tests.support.processes import unmeasured

pytestmark = pytest.mark.all_cases

PROJECT = Path(__file__).parents[2]


@contextmanager
def _serving(app: str, database: URL) -> Generator[tuple[int, str]]:
    """Serve an example, yield its port and its output, and stop it."""
    port = free_port()
    environ = {
        **unmeasured(),
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        "TRACKER_DATABASE_URL": database.render_as_string(hide_password=False),
        "TRACKER_SECRET_KEY": "a key for tests",
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


def test_an_empty_database_gets_tenants_that_are_served(tracker_url: URL) -> None:
    keys = [company.key for company in sample.COMPANIES[:3]]
    for app in ("flask_app", "fastapi_app"):  # the second finds the tenants of the first
        with _serving(app, tracker_url) as (port, printed):
            assert re.findall(r"/t/([\w-]+)/", printed) == keys
            assert f"http://{keys[0]}.localhost:{port}/" in printed
            form = {"email": re.findall(r"log in as (\S+)", printed)[0], "password": sample.PASSWORD}
            place = f"http://127.0.0.1:{port}/t/{keys[0]}"
            with httpx2.Client(timeout=60, trust_env=False) as client:
                if app == "flask_app":
                    token = re.findall(r'name="csrf_token"[^>]* value="([^"]+)"', client.get(f"{place}/login").text)[0]
                    answer = client.post(f"{place}/login", data={**form, "csrf_token": token})
                    assert answer.headers["location"].endswith(f"/t/{keys[0]}/projects")
                else:
                    assert client.post(f"{place}/api/login", json=form).status_code == 200
