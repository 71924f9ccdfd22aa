"""One tenant's migration leaves no state for the next, and statements that depend on the tenant are not replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from tenantkit import ConfigurationError, MigrationError, Tenancy
from tenantkit.migrations import MigrationReport, Progress, downgrade_run, migrate
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]

KEYS = [f"k{number}" for number in range(6)]
NOTES = 'op.create_table("note", sa.Column("id", sa.Integer), sa.Column("text", sa.Text), schema="tenant")'


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(NOTES, tuple(KEYS))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make, engine: Engine) -> Make:
    """Make tenancies of six tenants, each with a note of its own."""
    environment.add("one", NOTES, 'op.drop_table("note", schema="tenant")')
    with engine.begin() as connection:
        for key in KEYS:
            connection.exec_driver_sql(f"INSERT INTO t_{key}.note VALUES (1, 'of {key}')")
    return migrated_tenancy


def values(engine: Engine, query: str) -> dict[str, Any]:
    with engine.connect() as connection:
        return {key: connection.exec_driver_sql(query.format(f"t_{key}")).scalar() for key in KEYS}


def replayed(report: MigrationReport) -> int:
    return sum(outcome.engine == "replay" for outcome in report.outcomes)


def test_session_state_of_a_revision_does_not_reach_the_next_tenant(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add(
        "two",
        """
        op.execute("CREATE TEMP TABLE IF NOT EXISTS staging AS SELECT * FROM note")
        op.execute("UPDATE note SET text = staging.text FROM staging WHERE staging.id = note.id")
        op.execute("CREATE TABLE setting AS SELECT coalesce(current_setting('app.x', true), '') AS x")
        op.execute("SET app.x = 'left behind'")
        """,
    )

    report = migrate(fleet(), jobs=1)

    assert replayed(report) == 4
    assert values(engine, "SELECT text FROM {}.note") == {key: f"of {key}" for key in KEYS}
    assert set(values(engine, "SELECT x FROM {}.setting").values()) == {""}


NOT_REPLAYED = {
    "another connection": (
        """
        with op.get_bind().engine.connect() as other:
            schema = str(op.get_context().connection.exec_driver_sql("SELECT 1").scalar()) and "note"
        op.execute("UPDATE note SET text = 'x'")
        """,
        "database itself|connection of its own",
    ),
    "only another connection": (
        """
        with op.get_bind().engine.connect() as other:
            pass
        op.execute("UPDATE note SET text = 'x'")
        """,
        "opens a connection of its own",
    ),
    "the schema": (
        """
        vip = op.get_context().version_table_schema == "t_k4"
        op.execute("UPDATE note SET text = 'vip'" if vip else "UPDATE note SET text = 'x'")
        """,
        "asks for its schema",
    ),
    "the lexer": (
        """
        op.execute("SET LOCAL standard_conforming_strings = off")
        op.execute("UPDATE note SET text = 'x'")
        """,
        "how statements are parsed",
    ),
}


@pytest.mark.parametrize(("code", "why"), NOT_REPLAYED.values(), ids=NOT_REPLAYED)
def test_statements_that_may_differ_for_another_tenant_are_not_replayed(
    code: str, why: str, fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", code)

    report = migrate(fleet(), jobs=1)

    assert replayed(report) == 0
    ((reason, count),) = report.not_replayed.items()
    assert count in (4, 5)
    assert any(part in reason for part in why.split("|")), reason
    vip = values(engine, "SELECT text FROM {}.note")
    assert set(vip.values()) <= {"x", "vip"}
    assert [key for key, text in vip.items() if text == "vip"] == (["k4"] if "vip" in code else [])


def test_other_encodings_than_utf_8_are_not_replayed(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", "op.execute(\"UPDATE note SET text = 'caf\\u00e9'\")")

    report = migrate(fleet(engine_options={"connect_args": {"client_encoding": "latin1"}}), jobs=2)

    assert replayed(report) == 0
    assert set(values(engine, "SELECT text FROM {}.note").values()) == {"caf\u00e9"}


PARTLY = """
with op.get_context().autocommit_block():
    op.create_index("ix", "note", ["text"], schema="tenant", postgresql_concurrently=True)
"""


def test_reversing_a_run_with_two_parts_reverses_both(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", 'op.execute("CREATE TABLE new ()")', 'op.execute("DROP TABLE new")')
    environment.add("three", PARTLY, 'op.drop_index("ix", "note", schema="tenant")')
    report = migrate(fleet(), jobs=2)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT DISTINCT status, from_revision, to_revision FROM tenantkit.outcomes")
        assert [tuple(row) for row in rows] == [("done", "one", "three")]

    downgrade_run(fleet(), report.run_id, jobs=2)

    assert set(values(engine, "SELECT version_num FROM {}.alembic_version").values()) == {"one"}
    assert set(values(engine, "SELECT to_regclass('{}.new')").values()) == {None}


def test_reversing_a_run_that_failed_in_its_second_part_reverses_the_first(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", 'op.execute("CREATE TABLE new ()")', 'op.execute("DROP TABLE new")')
    environment.add("three", PARTLY.replace('"ix"', '"pg_is_in_the_way"'), "pass")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE INDEX pg_is_in_the_way ON t_k3.note (id)")
    with pytest.raises(MigrationError) as caught:
        migrate(fleet(), jobs=2)
    assert [failure.key for failure in caught.value.report.failures] == ["k3"]

    # The existing object is an error again, because no run was killed.
    with pytest.raises(MigrationError, match="already exists"):
        migrate(fleet(), jobs=2)

    downgrade_run(fleet(), caught.value.report.run_id, tenants=["k3"], jobs=2)

    assert values(engine, "SELECT version_num FROM {}.alembic_version")["k3"] == "one"
    assert values(engine, "SELECT to_regclass('{}.new')")["k3"] is None


def test_reversing_a_run_does_not_reverse_migrations_of_another(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", 'op.execute("CREATE TABLE new ()")', 'op.execute("DROP TABLE new")')
    report = migrate(fleet(), jobs=2)
    environment.add("three", 'op.execute("CREATE TABLE newer ()")', 'op.execute("DROP TABLE newer")')

    class Meanwhile(Progress):
        """Migrates the other tenants as soon as the run has been planned."""

        def started(self, _total: int) -> None:
            migrate(fleet(), jobs=1)

    with pytest.raises(MigrationError, match="its revision has changed since the run was planned, to three"):
        downgrade_run(fleet(), report.run_id, jobs=2, progress=Meanwhile())

    assert set(values(engine, "SELECT version_num FROM {}.alembic_version").values()) == {"three"}


@pytest.mark.parametrize("option", [{"phase": "Expand"}, {"engine": "fast"}])
def test_options_that_do_not_exist_are_refused(
    option: Any, fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", 'op.drop_table("note", schema="tenant")\n')
    with pytest.raises(ConfigurationError, match="(phase|engine)=.* it takes"):
        migrate(fleet(), **option)
    assert None not in values(engine, "SELECT to_regclass('{}.note')::text").values()


class StopsError(Exception):
    """An error of a progress object."""


def test_an_exception_of_the_progress_object_ends_the_run(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", 'op.execute("SELECT pg_sleep(0.5)")')

    class Watcher(Progress):
        def finished(self, _outcome: object) -> None:
            raise StopsError

    with pytest.raises(StopsError):
        migrate(fleet(), jobs=1, progress=Watcher())

    at = values(engine, "SELECT version_num FROM {}.alembic_version")
    assert list(at.values()).count("two") < len(KEYS) - 1


def test_a_view_in_place_of_a_version_table_is_read_too(fleet: Make, environment: Environment, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE t_k5.alembic_version RENAME TO versions")
        connection.exec_driver_sql("CREATE VIEW t_k5.alembic_version AS SELECT version_num FROM t_k5.versions")
    environment.add("two", "op.execute('CREATE TABLE new ()')")
    migrate(fleet(), jobs=2)
    assert set(values(engine, "SELECT version_num FROM {}.alembic_version").values()) == {"two"}
