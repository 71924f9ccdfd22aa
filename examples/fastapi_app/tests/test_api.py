"""The endpoints of the API."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from examples.conftest import OWNERS, secret_of
from examples.fastapi_app.tests.client import Client
from examples.tracker import boards
from examples.tracker.models import Comment, Member, Project, Task, TaskStatus
from tenantkit import Tenancy

pytestmark = pytest.mark.all_cases

At = Callable[[str], Client]


@pytest.fixture
def at(transport: TestClient) -> At:
    """Make a client at a tenant's path; tests/test_access.py uses hosts, too."""
    return lambda key: Client(transport, prefix=f"/t/{key}")


def test_the_address_names_the_tenant(start: Client, at: At) -> None:
    assert start.get("/api/here").json() == {"tenant": None}
    assert at("acme").get("/api/here").json()["tenant"]["name"] == "Acme"


def test_endpoints_of_tenants_are_not_found_without_one(start: Client) -> None:
    assert start.get("/api/projects").status_code == 404
    assert start.log_in().status_code == 404


def test_a_project_is_created(acme: Client, tenancy: Tenancy) -> None:
    answer = acme.post("/api/projects", {"key": "WEB", "name": "Website"})
    assert answer.status_code == 201
    assert (answer.json()["status"], answer.json()["lead"]["display_name"]) == ("active", "Ada")
    assert acme.post("/api/projects", {"key": "WEB", "name": "Other"}).status_code == 409
    assert acme.post("/api/projects", {"key": "w", "name": "Other"}).status_code == 422
    with tenancy.session("acme") as session:
        assert session.scalars(select(Project.name).where(Project.key == "WEB")).all() == ["Website"]
    with tenancy.session("beta") as session:
        assert session.scalars(select(Project.key)).all() == ["START"]


HOSTILE = ["\0", "a\0b", "\ud800"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_postgresql_cannot_store_is_a_client_error(start: Client, acme: Client, text: str) -> None:
    password = "correct horse battery"
    new = {"tenant_key": "new", "tenant_name": "New", "name": "Nina", "email": "nina@new.example", "password": password}
    calls = [(start, "/api/sign-up", {**new, name: f"{new[name]}{text}"}) for name in ("tenant_name", "name", "email")]
    calls += [(client, "/api/login", {"email": text, "password": text}) for client in (start, acme)]
    calls += [(start, "/api/account/login", {"email": text, "password": text})]
    calls += [(acme, "/api/projects", {"key": "WEB", "name": text, "description": text})]
    calls += [(acme, "/api/projects/START/tasks", {"title": text})]
    for client, path, content in calls:
        answer = client.call("POST", path, content=json.dumps(content), headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 404, 422}, (path, answer.text)
        assert password not in answer.text


@pytest.mark.parametrize("path", ["/tasks/99999999999999999999", "/tasks/-1", "/tasks/%00", "%00", "%00/tasks/1"])
def test_an_id_that_no_row_can_have_is_a_client_error(acme: Client, path: str) -> None:
    assert acme.get(f"/api/projects/START{path}").status_code in {400, 404, 422}
    assert acme.get("/api/tasks?words=%00").status_code == 400


def test_a_task_is_created_changed_moved_and_commented(acme: Client, tenancy: Tenancy) -> None:
    made = acme.post("/api/projects/START/tasks", {"title": " Choose a typeface "})
    assert made.status_code == 201
    task = made.json()
    assert (task["title"], task["status"], task["priority"]) == ("Choose a typeface", "todo", "normal")
    assert task["reporter"]["display_name"] == "Ada"
    path = f"/api/projects/START/tasks/{task['number']}"
    changes = {"status": "done", "priority": "urgent", "assignee_id": task["reporter"]["user_id"]}
    changed = acme.patch(path, changes).json()
    assert (changed["status"], changed["priority"], changed["assignee"]["display_name"]) == ("done", "urgent", "Ada")
    assert changed["title"] == "Choose a typeface"
    said = acme.post(f"{path}/comments", {"body": "Garamond"})
    assert (said.status_code, said.json()["author"]["display_name"]) == (201, "Ada")
    assert [comment["body"] for comment in acme.get(path).json()["comments"]] == ["Garamond"]
    with tenancy.session("acme") as session:
        stored = session.scalars(select(Task).where(Task.number == task["number"])).one()
        assert (stored.status, stored.closed_at is not None) == (TaskStatus.DONE, True)
        assert session.scalars(select(Comment.body)).all() == ["Garamond"]
    assert acme.patch(path, {"assignee_id": None}).json()["assignee"] is None
    happened = acme.get("/api/activity").json()
    assert {"closed", "created", "changed"} >= {activity["action"] for activity in happened[:3]}
    assert happened[0]["task"] == task["ref"]


@pytest.mark.parametrize(
    "changes",
    [{"title": ""}, {"title": None}, {"status": "elsewhere"}, {"assignee_id": 999_999}, {"number": 7}, {"id": 7}],
)
def test_refused_changes_change_nothing(acme: Client, changes: dict[str, object]) -> None:
    path = "/api/projects/START/tasks/1"
    before = acme.get(path).json()
    assert acme.patch(path, {"description": "other", **changes}).status_code == 422
    assert acme.get(path).json() == before


def test_an_assignee_must_be_a_member(acme: Client, tenancy: Tenancy) -> None:
    with tenancy.session("beta") as session:
        bob = session.scalars(select(Member.user_id).where(Member.display_name == "Bob")).one()
    assert acme.post("/api/projects/START/tasks", {"title": "x", "assignee_id": bob}).status_code == 422


def test_the_board_has_every_column(acme: Client) -> None:
    board = acme.get("/api/projects/START").json()
    assert list(board["columns"]) == list(TaskStatus)
    titles = [task["title"] for tasks in board["columns"].values() for task in tasks]
    assert secret_of("acme") in titles


def test_a_tenant_has_no_data_of_another(at: At, acme: Client) -> None:
    beta = at("beta")
    beta.log_in(OWNERS["beta"])
    for path in (
        "projects",
        "projects/START",
        "projects/START/tasks.ndjson",
        "activity",
        "members",
        "tasks?words=secret",
    ):
        own, others = acme.get(f"/api/{path}"), beta.get(f"/api/{path}")
        assert (own.status_code, others.status_code) == (200, 200)
        assert secret_of("beta") not in own.text
        assert secret_of("acme") not in others.text
    assert [task["title"] for task in acme.get("/api/tasks?words=secret").json()] == [secret_of("acme")]
    acme.post("/api/projects", {"key": "OWN", "name": "Own"})
    assert acme.get("/api/projects/OWN").status_code == 200
    assert beta.get("/api/projects/OWN").status_code == 404


def test_an_export_is_streamed_from_its_own_tenant(acme: Client, tenancy: Tenancy) -> None:
    with tenancy.session("acme") as session:
        project, owner = session.scalars(select(Project)).one(), session.scalars(select(Member)).one()
        for number in range(250):  # more than one batch of rows
            boards.create_task(session, project, title=f"Task {number}", reporter=owner, assignee=owner)
        session.commit()
    answer = acme.get("/api/projects/START/tasks.ndjson")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    tasks = [json.loads(line) for line in answer.text.splitlines()]
    assert [task["number"] for task in tasks] == list(range(1, 255))
    assert tasks[-1]["assignee"]["display_name"] == "Ada"
    assert secret_of("acme") in {task["title"] for task in tasks}


def test_missing_objects_are_not_found(acme: Client) -> None:
    for path in ("projects/NONE", "projects/NONE/tasks.ndjson", "projects/START/tasks/999", "nothing"):
        assert acme.get(f"/api/{path}").status_code == 404


def test_members_are_listed_with_their_work(acme: Client) -> None:
    workload = acme.get("/api/members").json()
    assert [(each["member"]["display_name"], each["open_tasks"]) for each in workload] == [("Ada", 2)]


def test_the_api_is_described(start: Client, acme: Client) -> None:
    document = start.get("/openapi.json").json()
    assert acme.get("/openapi.json").json() == document, "no tenant leaves a trace in it"
    assert start.get("/openapi.json").json() == document
    tags = {tag["name"] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert set(operation["tags"]) <= tags, path
            assert operation["summary"], path
            good = next(answer for code, answer in operation["responses"].items() if code.startswith("2"))
            assert "schema" in str(good) or "204" in operation["responses"], path
    assert document["components"]["schemas"]["TaskIn"]["properties"]["title"]["examples"] == ["Choose a typeface"]


def test_the_pages_are_served_and_use_no_other_host(start: Client, at: At) -> None:
    for client, path in itertools.product((start, at("acme")), ("/", "/docs")):
        page = client.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert "http" not in page.text
        for name in ({"/": "page.js", "/docs": "docs.js"}[path], "page.css", "icon.svg"):
            assert f'"static/{name}"' in page.text
            assert client.get(f"/static/{name}").status_code == 200


def test_a_path_without_its_slash_leads_to_the_page(start: Client) -> None:
    answer = start.get("/t/acme")
    assert answer.status_code == 307
    assert answer.headers["location"].endswith("/t/acme/")
