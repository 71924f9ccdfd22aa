"""Projects, boards and tasks, within a tenant."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select

from examples.tracker import boards
from examples.tracker.accounts import add_member
from examples.tracker.models import Member, Priority, Project, Role, Task, TaskStatus, User
from tenantkit import Tenancy, TenantSession

pytestmark = pytest.mark.all_cases


@pytest.fixture
def acme(tenancy: Tenancy) -> Generator[TenantSession]:
    """A session of a tenant with one member and one project."""

    def seed(session: TenantSession) -> None:
        user = User(email=f"ada@{session.tenant.key}.example", name="Ada", password_hash="-")
        boards.create_project(session, key="WEB", name="Website", lead=add_member(session, user, Role.OWNER))

    tenancy.create("globex", seed=seed)
    tenancy.create("acme", seed=seed)
    with tenancy.session("acme") as session:
        yield session


def project_and_member(session: TenantSession) -> tuple[Project, Member]:
    return session.scalars(select(Project)).one(), session.scalars(select(Member)).one()


def test_tasks_are_numbered_within_their_project(acme: TenantSession) -> None:
    website, ada = project_and_member(acme)
    cellar = boards.create_project(acme, key="CELLAR", name="Cellar", lead=ada)

    numbers = [
        boards.create_task(acme, project, title="x", reporter=ada).number for project in (website, website, cellar)
    ]

    assert numbers == [1, 2, 1]


def test_tasks_created_at_once_get_different_numbers(acme: TenantSession, tenancy: Tenancy) -> None:
    def create(title: int) -> None:
        with tenancy.session("acme") as session:
            project, member = project_and_member(session)
            boards.create_task(session, project, title=str(title), reporter=member)
            session.commit()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(12)))

    assert sorted(acme.scalars(select(Task.number))) == list(range(1, 13))


def test_a_moved_task_goes_to_the_end_of_its_column_and_is_closed_in_the_last(acme: TenantSession) -> None:
    website, ada = project_and_member(acme)
    first, second = (boards.create_task(acme, website, title=title, reporter=ada) for title in ("first", "second"))

    boards.move_task(acme, second, TaskStatus.DONE)
    boards.move_task(acme, first, TaskStatus.DONE)

    assert boards.board(acme, website)[TaskStatus.DONE] == [second, first]
    assert first.closed_at is not None
    boards.move_task(acme, first, TaskStatus.IN_REVIEW)
    assert first.closed_at is None
    summary = boards.list_projects(acme)[0]
    assert (summary.open_tasks, summary.done_tasks, summary.percent_done) == (1, 1, 50)


def test_search_finds_words_in_any_form(acme: TenantSession) -> None:
    website, ada = project_and_member(acme)
    boards.create_task(acme, website, title="Redirect the old addresses", reporter=ada)
    boards.create_task(acme, website, title="Take photos", description="Of every redirection", reporter=ada)

    assert [task.title for task in boards.search_tasks(acme, "redirecting -photo")] == ["Redirect the old addresses"]


def test_the_trigger_records_changes_in_its_own_tenant(acme: TenantSession, tenancy: Tenancy) -> None:
    website, ada = project_and_member(acme)
    task = boards.create_task(acme, website, title="Plan", reporter=ada)
    acme.commit()
    boards.move_task(acme, task, TaskStatus.DONE)
    acme.commit()
    task.priority = Priority.URGENT
    acme.commit()
    task.position = 7
    acme.commit()

    changed, closed, created = boards.recent_activity(acme)

    assert [activity.action for activity in (created, closed, changed)] == ["created", "closed", "changed"]
    assert changed.changes == {"priority": ["normal", "urgent"]}
    assert closed.changes["status"] == ["todo", "done"]
    with tenancy.session("globex") as session:
        assert boards.recent_activity(session) == []


def test_a_task_is_found_with_its_details(acme: TenantSession) -> None:
    website, ada = project_and_member(acme)
    task = boards.create_task(acme, website, title="Plan", reporter=ada, assignee=ada)
    comment = boards.add_comment(acme, task, ada, "When?")
    boards.add_comment(acme, task, ada, "Soon.", reply_to=comment)
    boards.log_time(acme, task, ada, 75, spent_on=date(2026, 4, 1))
    acme.commit()
    acme.expunge_all()

    found = boards.find_task(acme, "WEB", 1)

    assert found is not None
    acme.close()  # an attribute that was not loaded would raise here
    assert [(each.author.display_name, each.body) for each in found.comments] == [("Ada", "When?"), ("Ada", "Soon.")]
    assert [(each.member.display_name, each.hours) for each in found.time_entries] == [("Ada", Decimal("1.25"))]
    assert (found.labels, found.subtasks, found.blocked_by, found.attachments) == ([], [], [], [])
    assert (found.project.key, found.milestone, found.sprint, found.parent) == ("WEB", None, None, None)


def test_members_are_listed_with_their_load(acme: TenantSession) -> None:
    website, ada = project_and_member(acme)
    later = boards.create_task(acme, website, title="Later", reporter=ada, assignee=ada)
    urgent = boards.create_task(acme, website, title="Now", reporter=ada, assignee=ada, priority=Priority.URGENT)
    boards.log_time(acme, urgent, ada, 90, spent_on=date(2026, 4, 1))

    workload = boards.list_members(acme)

    assert [(each.member, each.open_tasks, each.hours) for each in workload] == [(ada, 2, Decimal("1.50"))]
    assert boards.open_tasks_of(acme, ada.user_id) == [urgent, later]
