"""The tracker's migrations: their result equals the models, and each can be downgraded."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL, text
from sqlalchemy.schema import CreateSchema

from examples.tracker.app import MIGRATIONS, make_tenancy
from examples.tracker.models import SharedBase
from examples.tracker.tests.catalog import describe
from tenantkit import Tenancy
from tenantkit.migrations import downgrade, downgrade_shared, migrate, revision, upgrade_shared

REVISIONS = [file.name[:4] for file in sorted((MIGRATIONS / "tenant").glob("*.py"))]
A_MEMBER = """
    WITH ada AS (
        INSERT INTO shared.users (email, name, password_hash) VALUES ('ada@acme.example', 'Ada', '-') RETURNING id
    )
    INSERT INTO members (user_id, display_name) SELECT id, 'Ada' FROM ada
"""


def write(tenancy: Tenancy, *statements: str) -> None:
    """Run SQL in acme's schema, without models, which are for the newest revision only."""
    with tenancy.session("acme") as session:
        for statement in statements:
            session.execute(text(statement))
        session.commit()


def read(tenancy: Tenancy, query: str) -> list[tuple[object, ...]]:
    with tenancy.session("acme") as session:
        return [tuple(row) for row in session.execute(text(query))]


def catalog(tenancy: Tenancy, schema: str) -> set[str]:
    with tenancy.engine.connect() as connection:
        return describe(connection, schema)


def test_the_migrated_tables_equal_the_models(tenancy: Tenancy, empty_database: URL) -> None:
    tenancy.create("acme")
    with closing(make_tenancy(empty_database, migrations=None, listen=False)) as from_models:
        from_models.install()
        with from_models.engine.begin() as connection:
            connection.execute(CreateSchema("shared"))
            SharedBase.metadata.create_all(connection)
        from_models.create("acme")

        assert catalog(tenancy, "shared") == catalog(from_models, "shared")
        beyond = catalog(tenancy, "t_acme") ^ catalog(from_models, "t_acme")

    assert {line.partition("\n")[0].partition(" AFTER")[0].strip() for line in beyond} == {
        "function log_task",
        "CREATE TRIGGER log_task",
    }


@pytest.mark.parametrize("shared", [False, True], ids=["tenant", "shared"])
def test_autogenerate_finds_no_differences(tracker_url: URL, tmp_path: Path, shared: bool) -> None:
    copy = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    before = sorted(copy.rglob("*.py"))
    with closing(make_tenancy(tracker_url, migrations=copy, listen=False)) as tenancy:
        assert revision(tenancy, "nothing", shared=shared, autogenerate=True) is None
    assert sorted(copy.rglob("*.py")) == before


@pytest.mark.all_cases
def test_every_tenant_revision_can_be_downgraded(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    at = {REVISIONS[-1]: catalog(tenancy, "t_acme")}
    for target in [*reversed(REVISIONS[:-1]), "base"]:
        downgrade(tenancy, target, jobs=0)
        at[target] = catalog(tenancy, "t_acme")

    assert at["base"] == set()
    for target in REVISIONS:
        migrate(tenancy, target, jobs=0)
        assert catalog(tenancy, "t_acme") == at[target]


def test_every_shared_revision_can_be_downgraded(tenancy: Tenancy) -> None:
    head = catalog(tenancy, "shared")
    downgrade_shared(tenancy, "base")

    assert catalog(tenancy, "shared") == set()
    upgrade_shared(tenancy)
    assert catalog(tenancy, "shared") == head


@pytest.mark.all_cases
def test_projects_get_keys_and_tasks_get_numbers(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    downgrade(tenancy, "0004", jobs=0)
    write(
        tenancy,
        A_MEMBER,
        "INSERT INTO projects (name) VALUES ('Website'), ('Web shop'), ('7'), ('Cellar')",
        """
        INSERT INTO tasks (project_id, reporter_id, title, status)
        SELECT projects.id, user_id, new.title, CAST(new.status AS task_status) FROM projects, members,
            (VALUES (1, 'first', 'todo'), (2, 'second', 'done'), (3, 'third', 'todo')) AS new (place, title, status)
        WHERE projects.name IN ('Website', 'Cellar') ORDER BY place
        """,
    )

    migrate(tenancy, "0005", jobs=0)

    assert read(tenancy, "SELECT key FROM projects ORDER BY id") == [("WEB",), ("WEB2",), ("XX",), ("CEL",)]
    rows = read(
        tenancy,
        "SELECT key, number, title, position, closed_at IS NULL FROM tasks JOIN projects ON projects.id = project_id "
        "ORDER BY key, number",
    )
    assert rows == [
        (key, *task)
        for key in ("CEL", "WEB")
        for task in [(1, "first", 0, True), (2, "second", 0, False), (3, "third", 1, True)]
    ]


@pytest.mark.all_cases
def test_tasks_in_review_are_in_progress_after_a_downgrade_of_the_column(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    downgrade(tenancy, "0004", jobs=0)
    write(
        tenancy,
        A_MEMBER,
        "INSERT INTO projects (name) VALUES ('Website')",
        "INSERT INTO tasks (project_id, reporter_id, title, status) "
        "SELECT id, user_id, each, each FROM projects, members, unnest(enum_range(NULL::task_status)) AS each",
    )

    downgrade(tenancy, "0003", jobs=0)

    assert read(tenancy, "SELECT title, status::text FROM tasks WHERE title <> status::text") == [
        ("in_review", "in_progress")
    ]


@pytest.mark.all_cases
def test_activities_of_existing_tasks_are_added(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    downgrade(tenancy, "0010", jobs=0)
    write(
        tenancy,
        A_MEMBER,
        "INSERT INTO projects (key, name) VALUES ('WEB', 'Website')",
        """
        INSERT INTO tasks (project_id, reporter_id, number, title, status, created_at, closed_at)
        SELECT id, user_id, new.* FROM projects, members, (VALUES
            (1, 'a', 'done'::task_status, '2026-01-01 00:00Z'::timestamptz, '2026-01-03 00:00Z'::timestamptz),
            (2, 'b', 'todo', '2026-01-02 00:00Z', NULL)
        ) AS new
        """,
    )

    migrate(tenancy, jobs=0)

    assert read(
        tenancy, "SELECT title, action FROM activities JOIN tasks ON tasks.id = task_id ORDER BY happened_at"
    ) == [("a", "created"), ("b", "created"), ("a", "closed")]
