"""The pages and their forms."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from flask import Flask
from sqlalchemy import select

from examples.conftest import OWNERS, secret_of
from examples.flask_app.tests.browser import Browser
from examples.tracker.models import Comment, Membership, Priority, Project, Task, TaskStatus
from tenantkit import Tenancy

pytestmark = pytest.mark.all_cases

At = Callable[[str], Browser]

SCRIPT = "<script>alert('x')</script>"
TASK = {"title": "Choose a typeface", "description": "", "status": "todo", "priority": "normal", "assignee": ""}


@pytest.fixture
def at(app: Flask) -> At:
    """Open a browser at a tenant's host; the tests of links and access use paths, too."""
    return lambda key: Browser(app, f"{key}.localhost")


def test_the_pages_without_a_tenant_are_served(app: Flask) -> None:
    browser = Browser(app)
    assert "A project tracker for your team" in browser.get("/").text
    for path in ("/sign-up", "/login"):
        assert browser.get(path).status_code == 200
    assert browser.get("/projects").status_code == 404
    assert browser.get("/tenants").location == "/login"


def test_a_project_is_created(acme: Browser, tenancy: Tenancy) -> None:
    answer = acme.post("/projects/new", {"name": "Website", "key": "web", "description": "New"}, page="/projects/new")
    assert answer.location == f"{acme.prefix}/projects/WEB"
    with tenancy.session("acme") as session:
        project = session.scalars(select(Project).where(Project.key == "WEB")).one()
        assert project.lead is not None
        assert (project.name, project.lead.display_name) == ("Website", "Ada")
    again = acme.post("/projects/new", {"name": "Other", "key": "WEB"}, page="/projects/new")
    assert "Another project has this key" in again.text
    with tenancy.session("beta") as session:
        assert session.scalars(select(Project.key)).all() == ["START"]


def test_a_task_is_created_changed_moved_and_commented(acme: Browser, tenancy: Tenancy) -> None:
    form = "/projects/START/tasks/new"
    answer = acme.post(form, TASK, page=form)
    assert answer.location == f"{acme.prefix}/projects/START"
    with tenancy.session("acme") as session:
        task = session.scalars(select(Task).where(Task.title == TASK["title"])).one()
        assert (task.status, task.priority, task.assignee, task.reporter.display_name) == (
            TaskStatus.TODO,
            Priority.NORMAL,
            None,
            "Ada",
        )
        ada = str(task.reporter_id)
    page = f"/projects/START/tasks/{task.number}"
    changes = {"priority": "urgent", "assignee": ada, "due_on": "2027-01-31", "description": "A serif"}
    assert acme.post(f"{page}/edit", TASK | changes, page=f"{page}/edit").status_code == 302
    assert acme.post(f"{page}/move", {"status": "done"}, page=page).location == f"{acme.prefix}/projects/START"
    assert acme.post(f"{page}/comments", {"body": "Garamond"}, page=page).status_code == 302
    with tenancy.session("acme") as session:
        task = session.get_one(Task, task.id)
        assert (task.status, task.priority, str(task.assignee_id)) == (TaskStatus.DONE, Priority.URGENT, ada)
        assert task.due_on == date(2027, 1, 31)
        assert task.description == "A serif"
        assert session.scalars(select(Comment.body)).all() == ["Garamond"]
    assert "Garamond" in acme.get(page).text
    assert "Urgent" in acme.get("/projects/START").text
    assert "Closed" in acme.get("/activity").text


@pytest.mark.parametrize(
    "change",
    [{"title": ""}, {"status": "elsewhere"}, {"priority": "most"}, {"assignee": "999999"}, {"due_on": "soon"}],
)
def test_a_refused_task_is_shown_again(acme: Browser, tenancy: Tenancy, change: dict[str, str]) -> None:
    form = "/projects/START/tasks/new"
    answer = acme.post(form, TASK | change, page=form)
    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.text
    with tenancy.session("acme") as session:
        assert TASK["title"] not in session.scalars(select(Task.title)).all()


def test_a_task_does_not_move_to_a_column_that_does_not_exist(acme: Browser) -> None:
    page = "/projects/START/tasks/1"
    assert acme.post(f"{page}/move", {"status": "elsewhere"}, page=page).status_code == 400


def test_a_tenant_has_no_data_of_another(at: At, acme: Browser) -> None:
    beta = at("beta")
    beta.log_in(OWNERS["beta"])
    for path in ("/projects", "/projects/START", "/activity", "/members", "/search?words=secret"):
        own, others = acme.get(path).text, beta.get(path).text
        assert secret_of("beta") not in own
        assert secret_of("acme") not in others
    assert secret_of("acme") in acme.get("/search?words=secret").text
    acme.post("/projects/new", {"name": "Own", "key": "OWN"}, page="/projects/new")
    assert acme.get("/projects/OWN").status_code == 200
    assert beta.get("/projects/OWN").status_code == 404


def test_html_of_users_is_shown_as_text(acme: Browser) -> None:
    form = "/projects/START/tasks/new"
    acme.post(form, TASK | {"title": SCRIPT, "description": SCRIPT}, page=form)
    page = "/projects/START/tasks/5"
    acme.post(f"{page}/comments", {"body": SCRIPT}, page=page)
    acme.post("/projects/new", {"name": SCRIPT, "key": "XSS", "description": SCRIPT}, page="/projects/new")
    shown = [acme.get(path).text for path in ("/projects", "/projects/START", "/projects/XSS", page, "/activity")]
    shown.append(acme.get(f"/search?words={SCRIPT}").text)
    shown.append(acme.get(f"{page}/edit").text)
    for text in shown:
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_no_script_may_run_in_the_pages(acme: Browser) -> None:
    headers = acme.get("/projects").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_form_without_its_token_changes_nothing(acme: Browser, at: At, tenancy: Tenancy) -> None:
    answer = acme.send("/projects/START/tasks/1/comments", {"body": "Forged"})
    assert answer.status_code == 400
    assert "This form was open for too long" in answer.text
    stranger = at("acme")
    token = stranger.get("/login").text.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
    assert acme.send("/projects/START/tasks/1/comments", {"body": "Forged", "csrf_token": token}).status_code == 400
    with tenancy.session("acme") as session:
        assert session.scalars(select(Comment)).all() == []


def test_a_token_of_one_tenant_is_refused_at_another(at: At, acme: Browser) -> None:
    beta = at("beta")
    beta.log_in()
    token = beta.get("/projects").text.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
    form = {"body": "Forged", "csrf_token": token}
    assert acme.send("/projects/START/tasks/1/comments", form).status_code == 400


def test_owners_add_and_remove_members(acme: Browser, at: At, tenancy: Tenancy) -> None:
    bob = at("acme")
    email = OWNERS["beta"]
    for _ in range(2):  # a removed member may be added again
        assert bob.log_in(email).status_code == 200
        assert acme.post("/members", {"email": email}, page="/members").status_code == 302
        assert "is a member already" in acme.post("/members", {"email": email}, page="/members").text
        assert bob.log_in(email).status_code == 302
        assert bob.get("/members").status_code == 200
        with tenancy.session("acme") as session:
            membership = session.scalars(
                select(Membership).where(Membership.tenant_id == tenancy.get("acme").id, Membership.role == "member")
            ).one()
        assert acme.post(f"/members/{membership.user_id}/remove", page="/members").status_code == 302
        assert bob.get("/members").status_code == 302
    assert "Nobody has an account" in acme.post("/members", {"email": "x@y.example"}, page="/members").text


def test_only_owners_and_admins_manage_members(at: At, tenancy: Tenancy) -> None:
    ada = at("beta")
    ada.log_in()
    assert "Add a member" not in ada.get("/members").text
    assert ada.post("/members", {"email": OWNERS["gamma"]}, page="/members").status_code == 403
    with tenancy.shared_session() as session:
        members = session.scalars(select(Membership).where(Membership.tenant_id == tenancy.get("beta").id)).all()
    owner = next(membership.user_id for membership in members if membership.role == "owner")
    assert ada.post(f"/members/{owner}/remove", page="/members").status_code == 403
    assert len(members) == 2


def test_owners_cannot_be_removed(acme: Browser, tenancy: Tenancy) -> None:
    with tenancy.shared_session() as session:
        ada = session.scalars(select(Membership.user_id).where(Membership.tenant_key == "acme")).one()
        eve = session.scalars(select(Membership.user_id).where(Membership.tenant_key == "gamma")).one()
    assert acme.post(f"/members/{ada}/remove", page="/members").status_code == 403
    assert acme.post(f"/members/{eve}/remove", page="/members").status_code == 404


def test_missing_objects_are_not_found(acme: Browser) -> None:
    for path in ("/projects/NONE", "/projects/START/tasks/999", "/projects/START/tasks/x", "/nowhere"):
        assert acme.get(path).status_code == 404


def test_errors_keep_their_headers(acme: Browser) -> None:
    answer = acme.get("/projects/START/tasks/1/move")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.content_type == "text/html; charset=utf-8"
