"""Branches of one side: with labels, bases of their own, dependencies and merges, as with plain Alembic."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from tenantkit import ConfigurationError, Tenancy
from tenantkit.drift import check
from tenantkit.migrations import downgrade, migrate, preview, stamp, status
from tenantkit.migrations.graph.revision_graph import Command, RevisionGraph
from tenantkit.migrations.planning.version_tables import read_revisions
from tests.migrations.environments import Environment

TABLE = 'op.create_table("{}", sa.Column("id", sa.Integer, primary_key=True), schema="tenant")'


def branch(environment: Environment, *revisions: str, after: str = "base", head: str = "") -> None:
    """Write revisions, one after another, each of which creates a table."""
    for revision in revisions:
        drop = f'op.drop_table("{revision}", schema="tenant")'
        environment.add(revision, TABLE.format(revision), drop, after=after, head=head)
        after, head = revision, ""


def versions(engine: Engine, *keys: str) -> list[tuple[str, ...]]:
    with engine.connect() as connection:
        found = read_revisions(connection, [f"t_{key}" for key in keys])
        return [found[f"t_{key}"] for key in keys]


def tables(engine: Engine, key: str) -> set[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s AND tablename <> 'alembic_version'"
    with engine.connect() as connection:
        return set(connection.exec_driver_sql(query, {"schema": f"t_{key}"}).scalars())


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Callable[..., Tenancy]) -> Callable[[], Tenancy]:
    """Make four tenants at the first revision of a side, and return a function that makes the tenancy with later ones."""
    branch(environment, "core1", head="branch_labels = ('core',)")
    tenancy = migrated_tenancy()
    for key in "abcd":
        tenancy.create(key)
    return migrated_tenancy


def test_independent_branches_are_migrated_created_and_current(
    environment: Environment, fleet: Callable[[], Tenancy], engine: Engine
) -> None:
    branch(environment, "core2", after="core1")
    branch(environment, "plug1", "plug2", head="branch_labels = ('plug',)")
    tenancy = fleet()
    with pytest.raises(ConfigurationError, match="'heads'"):
        migrate(tenancy)
    migrate(tenancy, "plug@head", tenants=["a"])
    assert versions(engine, "a") == [("core1", "plug2")]

    report = migrate(tenancy, "heads")
    tenancy.create("new")

    assert {outcome.engine for outcome in report.outcomes} == {"alembic", "replay"}
    assert versions(engine, *"abcd", "new") == [("core2", "plug2")] * 5
    assert [tables(engine, key) for key in (*"abcd", "new")] == [{"core1", "core2", "plug1", "plug2"}] * 5
    assert {placement.state for placement in status(tenancy).placements} == {"current"}
    assert not check(tenancy).has_drift

    downgrade(tenancy, "plug@base")

    assert versions(engine, *"abcd", "new") == [("core2",)] * 5


def test_a_tenant_at_a_revision_that_depends_on_another_branch_is_current(
    environment: Environment, fleet: Callable[[], Tenancy], engine: Engine
) -> None:
    branch(environment, "core2", after="core1")
    branch(environment, "plug1", head="branch_labels = ('plug',)\ndepends_on = 'core2'")
    tenancy = fleet()

    migrate(tenancy, "plug@head")
    tenancy.create("new")

    assert versions(engine, *"abcd", "new") == [("plug1",)] * 5
    assert [tables(engine, key) for key in (*"abcd", "new")] == [{"core1", "core2", "plug1"}] * 5
    found = status(tenancy)
    assert found.heads == ("plug1",)
    assert {placement.state for placement in found.placements} == {"current"}
    assert migrate(tenancy, "heads").unchanged == 5
    environment.add("late", "pass", after="plug1")
    assert {placement.state for placement in status(fleet()).placements} == {"behind"}


def test_steps_count_from_the_revision_of_each_tenant(
    environment: Environment, fleet: Callable[[], Tenancy], engine: Engine
) -> None:
    branch(environment, "core2", "core3", after="core1")
    branch(environment, "plug1", head="branch_labels = ('plug',)")
    migrate(fleet(), "core2", tenants=["a"])
    migrate(fleet(), "+1", tenants=["a", "b"])
    assert versions(engine, *"abcd") == [("core3",), ("core2",), ("core1",), ("core1",)]
    migrate(fleet(), "core@+1", tenants=["b", "c", "d"])
    assert versions(engine, *"abcd") == [("core3",), ("core3",), ("core2",), ("core2",)]
    stamp(fleet(), "plug1,core3")
    assert versions(engine, *"abcd") == [("core3", "plug1")] * 4
    with pytest.raises(ConfigurationError, match="core3 includes core1. Leave the latter out"):
        stamp(fleet(), "core1,core3")


def test_branches_that_divide_and_merge_are_upgraded_and_downgraded(
    environment: Environment, fleet: Callable[[], Tenancy], engine: Engine
) -> None:
    branch(environment, "left", after="core1")
    branch(environment, "right1", "right2", after="core1")
    environment.add("merged", "pass", after=("left", "right2"))
    branch(environment, "last", after="merged")
    tenancy = fleet()
    migrate(tenancy, "left", tenants=["a"])

    migrate(tenancy)
    tenancy.create("new")

    assert versions(engine, *"abcd", "new") == [("last",)] * 5
    assert [tables(engine, key) for key in (*"abcd", "new")] == [{"core1", "left", "right1", "right2", "last"}] * 5
    downgrade(tenancy, "core1")
    assert versions(engine, *"abcd", "new") == [("core1",)] * 5
    downgrade(tenancy, "base")
    assert [tables(engine, key) for key in (*"abcd", "new")] == [set()] * 5


def test_shared_branches_are_migrated_with_the_tenants_branches(
    environment: Environment, fleet: Callable[[], Tenancy]
) -> None:
    for revision in ("one", "two"):
        create = f'op.create_table("{revision}", sa.Column("id", sa.Integer), schema="shared")'
        environment.add(revision, create, line="shared", after="base")
    tenancy = fleet()
    with pytest.raises(ConfigurationError, match="'heads'"):
        migrate(tenancy)

    planned = preview(tenancy, "heads", scripts=True).shared
    assert planned is not None
    assert planned.rehearsal is not None
    assert planned.rehearsal.failures == ()
    migrate(tenancy, "heads")
    migrate(tenancy, "core@head")

    found = status(tenancy)
    assert (found.shared_revision, found.shared_is_current) == ("one,two", True)


@pytest.mark.parametrize("command", ["migrate", "downgrade", "stamp"])
@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("plug@core2", "the revision core2 belongs to the branch 'core', not to 'plug'"),
        ("plug@core", "the revision core1 belongs to the branch 'core', not to 'plug'"),
        ("plug2@core1", "the revision core1 belongs to the branch 'core', not to 'plug2'"),
        ("plug@core1+1", "the revision core1 belongs to the branch 'core', not to 'plug'"),
        ("plug@core2-1", "the revision core2 belongs to the branch 'core', not to 'plug'"),
        ("core2,core@plug1", "the revision plug1 belongs to the branch 'plug', not to 'core'"),
        ("plug@bare", "the revision bare does not belong to the branch 'plug'"),
        ("plug@nothing", "'nothing'. It is mistyped"),
        ("nothing@core1", "'nothing'. It is mistyped"),
    ],
)
def test_a_revision_of_another_branch_is_named_with_its_own(
    command: Command, target: str, says: str, environment: Environment
) -> None:
    branch(environment, "core1", "core2", head="branch_labels = ('core',)")
    branch(environment, "plug1", "plug2", head="branch_labels = ('plug',)")
    branch(environment, "bare")
    graph = RevisionGraph(environment.folder, "tenant")
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        graph.require_target(command, target)
        graph.steps(command, target, ("bare", "core2", "plug2"))
