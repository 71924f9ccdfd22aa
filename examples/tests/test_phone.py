"""The pages on a phone do not scroll horizontally, also with long words."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import URL, select
from waitress.server import create_server

from examples.conftest import OWNERS, PASSWORD
from examples.fastapi_app.app import create_app as create_fastapi_app
from examples.flask_app.app import create_app as create_flask_app
from examples.settings import Settings
from examples.tests.phone import CHROMIUM, WIDTH, Phone, open_phone
from examples.tracker import boards
from examples.tracker.app import make_async_tenancy, make_tenancy
from examples.tracker.models import Label, Member, Priority, Project, TaskStatus
from tenantkit import Tenancy

pytestmark = [pytest.mark.all_cases, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]

WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"


@pytest.fixture(params=["usual", "long words"])
def tenancy(request: pytest.FixtureRequest, peopled_url: URL) -> Generator[Tenancy]:
    """The tenants; acme has a board with a task in each column."""
    with closing(make_tenancy(peopled_url, listen=False)) as tenancy:
        word = WORD if request.param == "long words" else "Website"
        with tenancy.session("acme") as session:
            project = session.scalars(select(Project)).one()
            ada = session.scalars(select(Member)).one()
            project.name = project.description = ada.display_name = ada.job_title = word
            for status in TaskStatus:
                task = boards.create_task(
                    session, project, title=word, reporter=ada, assignee=ada, status=status, priority=Priority.URGENT
                )
                task.description = word
                task.labels = list(session.scalars(select(Label)))
                boards.add_comment(session, task, ada, word)
            session.commit()
        tenancy.update("acme", name=word)
        yield tenancy


@pytest.fixture
def phone(tmp_path: Path) -> Generator[Phone]:
    with open_phone(tmp_path / "browser") as phone:
        yield phone


@contextmanager
def serving_flask(tenancy: Tenancy, settings: Settings) -> Generator[str]:
    server: Any = create_server(create_flask_app(tenancy, settings), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.trigger.pull_trigger(server.close)
        server.task_dispatcher.shutdown()
        thread.join(timeout=20)


@contextmanager
def serving_fastapi(url: URL, settings: Settings) -> Generator[str]:
    app = create_fastapi_app(make_async_tenancy(url, listen=False), settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)


def test_no_page_of_the_flask_application_is_wider_than_a_phone(
    tenancy: Tenancy, settings: Settings, phone: Phone
) -> None:
    with serving_flask(tenancy, settings) as url:
        for path in ("/", "/sign-up", "/login", "/t/nobody/", "/t/acme/login"):
            phone.visit(f"{url}{path}")
            assert phone.width == WIDTH, path
        log_in = "document.querySelector('[name={}]').value = '{}'"
        phone.run(log_in.format("email", OWNERS["acme"]))
        phone.run(log_in.format("password", PASSWORD))
        phone.run("document.querySelector('main form').submit()")
        phone.wait("location.pathname === '/t/acme/projects' && document.readyState === 'complete'")
        assert phone.width == WIDTH
        for path in (
            "/projects/START",
            "/projects/START/tasks/5",
            "/projects/START/tasks/5/edit",
            "/projects/START/tasks/new",
            "/projects/new",
            "/members",
            "/activity",
            "/search?words=website",
            f"/search?words={WORD[:20]}",
            "/nowhere",
        ):
            phone.visit(f"{url}/t/acme{path}")
            assert phone.width == WIDTH, path


def test_no_page_of_the_fastapi_application_is_wider_than_a_phone(
    tenancy: Tenancy, peopled_url: URL, settings: Settings, phone: Phone
) -> None:
    log_in = f"""fetch("api/login", {{
        method: "POST", headers: {{"Content-Type": "application/json"}},
        body: JSON.stringify({{email: "{OWNERS["acme"]}", password: "{PASSWORD}"}}),
    }}).then((response) => response.status)"""
    with serving_fastapi(peopled_url, settings) as url:
        phone.visit(f"{url}/")
        phone.wait("document.querySelector('#sign-up').offsetParent")
        assert phone.width == WIDTH
        phone.visit(f"{url}/docs")
        phone.wait("document.querySelectorAll('#operations article').length > 20")
        assert phone.width == WIDTH
        assert "GET api/projects" in phone.run("document.querySelector('#operations').innerText")
        for path in ("/t/nobody/", "/nowhere"):
            phone.visit(f"{url}{path}")
            assert phone.run("document.querySelector('h1').innerText") == "This page does not exist"
            assert phone.width == WIDTH
        phone.visit(f"{url}/t/acme/")
        assert phone.run(log_in) == 200
        phone.visit(f"{url}/t/acme/?board#START")
        phone.wait("document.querySelectorAll('#board li').length > 5")
        assert phone.width == WIDTH
