"""Comparisons of tenants, revisions and models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from tenantkit import Tenancy
from tenantkit.drift import check
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations import revision
from tests.drift.conftest import Fleet, run_script, words_of
from tests.migrations.environments import Environment
from tests.support.catalog import schemas

AS_DECLARED = """
state = postgresql.ENUM("OPEN", "DONE", name="state", schema="tenant")
op.create_table(
    "project",
    sa.Column("id", sa.Integer),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("country_code", sa.String, sa.ForeignKey("shared.country.code")),
    sa.UniqueConstraint("name"),
    sa.PrimaryKeyConstraint("id", name="pk_project"),
    schema="tenant",
)
op.create_table(
    "work",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("state", state, nullable=False),
    sa.Column("project_id", sa.Integer, sa.ForeignKey("tenant.project.id"), nullable=False),
    schema="tenant",
)
op.rename_table("work", "task", schema="tenant")
op.create_index("ix_tenant_task_project_id", "task", ["project_id"], schema="tenant")
"""
"""The objects of the models, except for the names of constraints and of the sequence of task.id."""

BESIDES = """
op.execute("CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
op.execute("CREATE VIEW titles AS SELECT title FROM task")
op.execute("ALTER TABLE task ENABLE ROW LEVEL SECURITY")
op.execute("CREATE POLICY everyone ON task USING (id > one())")
"""
"""Objects that models cannot declare."""


@pytest.fixture
def make_migrated(make_tenancy: Callable[..., Tenancy], environment: Environment) -> Callable[..., Tenancy]:
    """Make a tenancy with three tenants, all built by one revision."""

    def make(upgrade: str) -> Tenancy:
        environment.add("r1", upgrade)
        tenancy = make_tenancy(migrations=environment.folder)
        for key in ("acme", "beta", "gamma"):
            tenancy.create(key)
        return tenancy

    return make


def models(tenancy: Tenancy) -> list[str]:
    return [str(each) for each in check(tenancy, models=True).models]


def test_models_revisions_and_tenants_agree(make_migrated: Callable[..., Tenancy], engine: Engine) -> None:
    tenancy = make_migrated(AS_DECLARED + BESIDES)
    before = schemas(engine)
    report = check(tenancy, models=True)
    assert [str(each) for each in report.models] == []
    assert not report.has_drift
    assert [(group.standard, group.revision, group.alike) for group in report.groups] == [("revisions", "r1", 3)]
    assert schemas(engine) == before


def test_the_changes_of_a_missing_revision_are_named(make_migrated: Callable[..., Tenancy]) -> None:
    tenancy = make_migrated(
        AS_DECLARED.replace('"OPEN", "DONE"', '"OPEN"')
        + """
op.alter_column("task", "title", nullable=True, schema="tenant")
op.drop_index("ix_tenant_task_project_id", "task", schema="tenant")
op.add_column("task", sa.Column("spare", sa.Integer), schema="tenant")
"""
    )
    report = check(tenancy, models=True)
    assert [str(each) for each in report.models] == [
        "enum state: labels are 'OPEN', not 'OPEN', 'DONE'",
        "column task.spare should not be there",
        "column task.title: NULL is allowed, not forbidden",
        "index ix_tenant_task_project_id is missing on task",
    ]
    assert report.has_drift
    assert words_of(report) == {}


def test_a_change_of_all_tenants_is_found_by_comparison_with_the_revisions(
    make_migrated: Callable[..., Tenancy], engine: Engine
) -> None:
    tenancy = make_migrated(AS_DECLARED + BESIDES)
    for key in ("acme", "beta", "gamma"):
        run_script(engine.url, f"DROP INDEX t_{key}.ix_tenant_task_project_id")
    assert not check(tenancy).has_drift
    report = check(tenancy, models=True)
    missing = ["index ix_tenant_task_project_id is missing on task"]
    assert words_of(report) == {"acme": missing, "beta": missing, "gamma": missing}
    for odd in report.odd:
        for key in odd.schemas:
            run_script(engine.url, odd.script(key))
    assert not check(tenancy, models=True).has_drift


@pytest.mark.all_cases
def test_tenants_behind_the_head_are_compared_with_the_revisions_up_to_theirs(
    make_migrated: Callable[..., Tenancy], environment: Environment, make_tenancy: Callable[..., Tenancy]
) -> None:
    make_migrated(AS_DECLARED)
    environment.add("r2", 'op.add_column("task", sa.Column("spare", sa.Integer), schema="tenant")')
    tenancy = make_tenancy(migrations=environment.folder)
    tenancy.create("newest")
    report = check(tenancy, models=True)
    assert [(group.revision, group.standard, group.alike) for group in report.groups] == [
        ("r1", "revisions", 3),
        ("r2", "revisions", 1),
    ]
    assert [str(each) for each in report.models] == ["column task.spare should not be there"]


def test_autogenerated_revisions_equal_the_models(
    make_tenancy: Callable[..., Tenancy], environment: Environment
) -> None:
    environment.add("s1", "op.execute('SELECT 1')", line="shared")
    tenancy = make_tenancy(migrations=environment.folder)
    with tenancy.engine.begin() as connection:
        connection.execute(text("CREATE TABLE shared.alembic_version (version_num varchar(32) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO shared.alembic_version VALUES ('s1')"))
    assert revision(tenancy, "models", autogenerate=True)
    assert models(make_tenancy(migrations=environment.folder)) == []


def test_without_migrations_tenants_are_compared_with_the_models(fleet: Fleet) -> None:
    fleet.tenancy.create("plain")
    report = fleet.check(models=True)
    assert [(group.standard, group.tenants, group.alike) for group in report.groups] == [("models", 4, 1)]
    assert "table invoices should not be there" in words_of(report)["acme"]


def test_the_shared_tables_must_be_migrated_first(
    make_migrated: Callable[..., Tenancy], environment: Environment, make_tenancy: Callable[..., Tenancy]
) -> None:
    make_migrated(AS_DECLARED)
    environment.add("s1", "pass", line="shared")
    with pytest.raises(ConfigurationError, match="Run 'tenantkit migrate' first"):
        check(make_tenancy(migrations=environment.folder), models=True)


def test_revisions_that_need_several_transactions_are_built_if_the_server_can(
    make_migrated: Callable[..., Tenancy], engine: Engine
) -> None:
    tenancy = make_migrated(
        """
        op.execute("CREATE TYPE mood AS ENUM ('sad')")
        op.create_table("day", sa.Column("mood", postgresql.ENUM(name="mood", schema="tenant", create_type=False)), schema="tenant")
        with op.get_context().autocommit_block():
            op.execute("ALTER TYPE mood ADD VALUE 'happy'")
        op.execute("INSERT INTO day VALUES ('happy')")
        """
    )
    before = schemas(engine)
    with engine.connect() as connection:
        version = connection.dialect.server_version_info or ()
    if version >= (17,):
        assert not words_of(check(tenancy, models=True))
    else:
        with pytest.raises(ConfigurationError, match="PostgreSQL 17 and later can do that"):
            check(tenancy, models=True)
    assert schemas(engine) == before
