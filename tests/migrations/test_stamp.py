"""Stamps of revisions, also for wrong version tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Engine

from tenantkit import ConfigurationError, MigrationError, Tenancy
from tenantkit.migrations import (
    downgrade,
    downgrade_shared,
    list_runs,
    migrate,
    stamp,
    stamp_shared,
    status,
    upgrade_shared,
)
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Make:
    """Make tenancies of a fleet of two tenants at the revision three."""
    environment.add("shared_one", "pass", line="shared")
    environment.add("shared_two", "pass", line="shared")
    for revision in ("one", "two", "three"):
        environment.add(revision, "pass")
    tenancy = migrated_tenancy()
    upgrade_shared(tenancy)
    for key in ("acme", "globex"):
        tenancy.create(key)
    return migrated_tenancy


def write(engine: Engine, schema: str, *revisions: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {schema}.alembic_version")
        for revision in revisions:
            connection.exec_driver_sql(f"INSERT INTO {schema}.alembic_version VALUES ('{revision}')")


def read(engine: Engine, schema: str) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.exec_driver_sql(f"SELECT version_num FROM {schema}.alembic_version").scalars())


@pytest.mark.parametrize("rows", [("gone",), ("one", "three"), ("two", "gone"), ("one", "two", "three"), ("one",), ()])
@pytest.mark.parametrize(("target", "there"), [("head", ["three"]), ("two", ["two"]), ("th", ["three"]), ("base", [])])
@pytest.mark.parametrize("jobs", [0, 2])
def test_purge_replaces_any_content_of_the_version_table(
    fleet: Make, engine: Engine, rows: Sequence[str], target: str, there: list[str], jobs: int
) -> None:
    write(engine, "t_acme", *rows)
    stamp(fleet(), target, purge=True, tenants=["acme"], jobs=jobs)
    assert read(engine, "t_acme") == there
    assert read(engine, "t_globex") == ["three"]
    assert stamp(fleet(), target, purge=True, tenants=["acme"], jobs=jobs).unchanged == 1


@pytest.mark.parametrize("rows", [("gone",), ("shared_one", "shared_two"), ("shared_one",)])
@pytest.mark.parametrize(("target", "there"), [("head", ["shared_two"]), ("base", [])])
def test_purge_stamps_the_shared_tables(
    fleet: Make, engine: Engine, rows: Sequence[str], target: str, there: list[str]
) -> None:
    write(engine, "shared", *rows)
    stamp_shared(fleet(), target, purge=True)
    assert read(engine, "shared") == there
    assert stamp_shared(fleet(), target, purge=True) is None


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (("gone",), "alembic_version has the revision 'gone', and no file in .* has it.*stamp REVISION --purge"),
        (("one", "three"), "three and one, and the one includes the other.*stamp three --purge --tenants"),
        (("two", "three", "one"), "includes the other.*--purge"),
    ],
)
def test_every_command_reports_a_wrong_version_table_with_the_remedy(
    fleet: Make, engine: Engine, rows: Sequence[str], says: str
) -> None:
    write(engine, "t_acme", *rows)
    for command, target in ((migrate, "head"), (downgrade, "one"), (downgrade, "-1"), (stamp, "three"), (stamp, "one")):
        with pytest.raises(MigrationError, match=says) as caught:
            command(fleet(), target, jobs=0)
        assert [outcome.key for outcome in caught.value.report.failures] == ["acme"]
    assert read(engine, "t_acme") == sorted(rows)


def test_wrong_rows_of_the_shared_tables_are_reported_with_the_remedy(fleet: Make, engine: Engine) -> None:
    write(engine, "shared", "gone")
    with pytest.raises(ConfigurationError, match="stamp REVISION --purge --shared"):
        upgrade_shared(fleet())
    write(engine, "shared", "shared_one", "shared_two")
    with pytest.raises(ConfigurationError, match="stamp shared_two --purge --shared"):
        upgrade_shared(fleet())


def test_heads_of_two_branches_are_no_contradiction(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("side", "pass", after="one")
    migrate(fleet(), "heads", tenants=["acme"], jobs=0)
    assert read(engine, "t_acme") == ["side", "three"]
    assert migrate(fleet(), "heads", tenants=["acme"], jobs=0).unchanged == 1


@pytest.mark.parametrize("target", ["zzz", "onne", "one@zzz", "zzz-1"])
@pytest.mark.parametrize("command", [stamp, downgrade, stamp_shared, downgrade_shared])
def test_an_unknown_target_is_refused_before_any_change(
    fleet: Make, engine: Engine, environment: Environment, target: str, command: Callable[..., object]
) -> None:
    environment.add("four", "raise ValueError('the true failure')")
    with pytest.raises(MigrationError):
        migrate(fleet(), jobs=0)
    runs = len(list_runs(fleet()))
    with pytest.raises(ConfigurationError, match="zzz|onne"):
        command(fleet(), target)
    assert len(list_runs(fleet())) == runs
    assert {"the true failure" in (each.error or "") for each in status(fleet()).failed} == {True}
