"""The reversal of a run: exactly its migrations, and no later ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tenantkit import ConfigurationError, MigrationError, Tenancy
from tenantkit.migrations import downgrade, downgrade_run, get_run, list_runs, migrate, stamp
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape
from tests.migrations.test_fleet import ONE, TWO
from tests.migrations.test_interruptions import KILLED, revision, run

Make = Callable[..., Tenancy]
KEYS = [f"k{number}" for number in range(5)]


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(ONE, tuple(KEYS))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Make:
    """Make tenancies of five tenants, k0 at revision two and the others at one; the head is three."""
    environment.add("one", ONE, 'op.drop_table("a", schema="tenant")')
    environment.add(
        "two",
        TWO + '\nop.execute("INSERT INTO a VALUES (1, 2)")',
        'op.drop_column("a", "y", schema="tenant")\nop.execute("DELETE FROM a")',
    )
    migrate(migrated_tenancy(), tenants=["k0"])
    environment.add("three", 'op.execute("CREATE TABLE b ()")', 'op.execute("DROP TABLE b")')
    return migrated_tenancy


def look(engine: Engine) -> dict[str, Any]:
    """Return the objects and rows of each tenant's schema."""
    with engine.connect() as connection:
        return {key: (shape(connection, f"t_{key}"), rows(connection, f"t_{key}")) for key in KEYS}


def revisions(engine: Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return {
            key: sorted(connection.exec_driver_sql(f"SELECT version_num FROM t_{key}.alembic_version").scalars())
            for key in KEYS
        }


def everywhere(*heads: str, **others: str) -> dict[str, list[str]]:
    return {**{key: list(heads) for key in KEYS}, **{key: [revision] for key, revision in others.items()}}


@pytest.mark.parametrize("how", [{"jobs": 0}, {"jobs": 2}, {"engine": "alembic", "jobs": 1}], ids=str)
def test_each_tenant_returns_to_its_revision_before_the_run(fleet: Make, engine: Engine, how: Any) -> None:
    before = look(engine)
    run = migrate(fleet())
    assert revisions(engine) == everywhere("three")
    report = downgrade_run(fleet(), run.run_id, **how)
    assert look(engine) == before
    assert revisions(engine) == everywhere("one", k0="two")
    assert {(o.key, o.from_revision, o.to_revision) for o in report.migrated} == {
        ("k0", "three", "two"),
        *((key, "three", "one") for key in KEYS[1:]),
    }
    assert (report.command, report.target) == ("downgrade", f"before run {run.run_id}")
    found, _ = get_run(fleet(), report.run_id)
    assert (found.command, found.done) == ("downgrade", 5)


def test_tenants_with_different_targets_get_different_scripts(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    for key in KEYS:
        tenancy.create(key)
    environment.add("two", TWO, 'op.drop_column("a", "y", schema="tenant")')
    migrate(migrated_tenancy(), tenants=["k0", "k3", "k4"])
    environment.add("three", "pass")
    run = migrate(migrated_tenancy())
    downgrade_run(migrated_tenancy(), run.run_id, waves=[60, 100], jobs=1)
    assert revisions(engine) == everywhere("one", k0="two", k3="two", k4="two")


def test_a_first_migration_is_reversed_to_base(fleet: Make, engine: Engine) -> None:
    downgrade(fleet(), "base")
    before = look(engine)
    run = migrate(fleet(), "two")
    downgrade_run(fleet(), run.run_id)
    assert look(engine) == before


def test_only_migrations_of_the_run_are_reversed(fleet: Make, engine: Engine) -> None:
    migrate(fleet(), tenants=["k1", "k2"])
    run = migrate(fleet())  # the other tenants
    downgrade_run(fleet(), run.run_id)
    assert revisions(engine) == everywhere("three", k0="two", k3="one", k4="one")


def test_a_tenant_that_was_migrated_since_is_refused_and_unchanged(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    run = migrate(fleet())
    environment.add("four", 'op.execute("CREATE TABLE c ()")', 'op.execute("DROP TABLE c")')
    later = migrate(fleet(), tenants=["k1"])
    again = migrate(fleet(), tenants=["k2"])
    downgrade(fleet(), "one", tenants=["k2"])
    stamped = stamp(fleet(), "three", tenants=["k2"])  # is at the revision of the run, but not by the run
    assert later.run_id < again.run_id < stamped.run_id
    before = look(engine)
    with pytest.raises(MigrationError) as caught:
        downgrade_run(fleet(), run.run_id)
    errors = {outcome.key: outcome.error for outcome in caught.value.report.failures}
    assert errors == {
        "k1": f"its revision was changed by run {later.run_id} after run {run.run_id} brought it to three, and is four now. "
        "Undo that first, or go to one with 'tenantkit downgrade'",
        "k2": f"its revision was changed by run {stamped.run_id} after run {run.run_id} brought it to three, and is three now. "
        "Undo that first, or go to one with 'tenantkit downgrade'",
    }
    after = look(engine)
    assert (after["k1"], after["k2"]) == (before["k1"], before["k2"])
    assert revisions(engine) == everywhere("one", k0="two", k1="four", k2="three")


@pytest.mark.all_cases
def test_the_same_command_finishes_the_reversal_and_then_changes_nothing(fleet: Make, engine: Engine) -> None:
    run = migrate(fleet())
    assert len(downgrade_run(fleet(), run.run_id, tenants=["k1"]).migrated) == 1
    assert revisions(engine) == everywhere("three", k1="one")
    report = downgrade_run(fleet(), run.run_id)
    assert (len(report.migrated), report.unchanged) == (4, 1)
    report = downgrade_run(fleet(), run.run_id)
    assert (report.outcomes, report.unchanged) == ((), 5)


def test_a_tenant_with_the_key_of_a_dropped_one_is_unchanged(fleet: Make, engine: Engine) -> None:
    run = migrate(fleet())
    tenancy = fleet()
    tenancy.drop("k4")
    tenancy.create("k4")
    downgrade_run(fleet(), run.run_id)
    schema = fleet().get("k4").schema
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f'SELECT version_num FROM "{schema}".alembic_version').scalar() == "three"


def test_branches_are_reversed_together(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("left", 'op.execute("CREATE TABLE l ()")', 'op.execute("DROP TABLE l")', after="three")
    environment.add("right", 'op.execute("CREATE TABLE r ()")', 'op.execute("DROP TABLE r")', after="three")
    before = look(engine)
    run = migrate(fleet(), "heads")
    assert revisions(engine) == everywhere("left", "right")
    downgrade_run(fleet(), run.run_id)
    assert look(engine) == before


def test_a_reversal_that_is_no_single_downgrade_is_refused(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("left", 'op.execute("CREATE TABLE l ()")', after="three")
    environment.add("right", 'op.execute("CREATE TABLE r ()")', after="three")
    migrate(fleet(), "heads")
    environment.add("left2", "pass", after="left")
    environment.add("right2", "pass", after="right")
    run = migrate(fleet(), "heads")
    with pytest.raises(MigrationError, match="no single downgrade goes from left2,right2 back to left,right"):
        downgrade_run(fleet(), run.run_id)
    assert revisions(engine) == everywhere("left2", "right2")


def test_a_removed_revision_is_named(fleet: Make, environment: Environment, engine: Engine) -> None:
    run = migrate(fleet())
    environment.remove("three")
    with pytest.raises(MigrationError, match="newer than this checkout: update the code"):
        downgrade_run(fleet(), run.run_id)
    assert revisions(engine) == everywhere("three")


def test_a_run_that_cannot_be_reversed_is_refused_with_the_reason(fleet: Make, engine: Engine) -> None:
    run = migrate(fleet(), tenants=["k1"])
    nothing = migrate(fleet(), tenants=["k1"])
    down = downgrade(fleet(), "-1", tenants=["k1"])
    for number, options, message in (
        (99, {}, "There is no run 99. 'tenantkit runs list' shows"),
        (nothing.run_id, {}, "migrated no tenant, so there is nothing to undo"),
        (down.run_id, {}, "was a downgrade, and only a migration can be undone"),
        (run.run_id, {"tenants": ["k1", "k2"]}, f"did not migrate 'k2'. 'tenantkit runs show {run.run_id}'"),
        (run.run_id, {"canary": 0}, "0 is no canary"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            downgrade_run(fleet(), number, **options)
    assert revisions(engine) == everywhere("one", k0="two", k1="two")


def test_migrations_before_a_kill_are_reversed(
    environment: Environment, fleet: Make, engine: Engine, tmp_path: Path
) -> None:
    before = look(engine)
    dies = tmp_path / "dies"
    dies.touch()
    environment.add("four", revision('op.execute("SELECT 1")', dies))
    assert run(fleet(), environment.folder) == -KILLED
    assert revisions(engine) == {**everywhere("one", k0="three")}
    [killed] = list_runs(fleet(), limit=1)
    dies.unlink()

    report = downgrade_run(fleet(), killed.id)

    assert [(each.key, each.from_revision, each.to_revision) for each in report.migrated] == [("k0", "three", "two")]
    with engine.begin() as connection:
        # Objects of the steps outside of a transaction, if any, must still count as their own.
        connection.exec_driver_sql("COMMENT ON TABLE t_k0.alembic_version IS NULL")
    assert look(engine) == before


@pytest.mark.all_cases
def test_migrations_before_the_death_of_a_worker_are_reversed(
    environment: Environment, fleet: Make, engine: Engine, tmp_path: Path
) -> None:
    before = look(engine)
    dies = tmp_path / "dies"
    dies.touch()
    # In this process, two tenants are rehearsed.
    four = revision('op.execute("SELECT 1")', dies).replace(
        "if path", "if 'pytest' not in __import__('sys').modules and path"
    )
    environment.add("four", four)
    with pytest.raises(MigrationError, match="the worker process died") as caught:
        migrate(fleet(), tenants=KEYS[1:], engine="alembic")
    dies.unlink()
    number = caught.value.report.run_id
    _, outcomes = get_run(fleet(), number)
    assert {(each.from_revision, each.to_revision) for each in outcomes if not each.ok} == {("one", "three")}

    downgrade_run(fleet(), number)

    with engine.begin() as connection:
        for key in KEYS:
            connection.exec_driver_sql(f"COMMENT ON TABLE t_{key}.alembic_version IS NULL")
    assert look(engine) == before


def test_a_blocking_lock_after_a_partial_reversal_is_waited_for(
    environment: Environment, fleet: Make, engine: Engine, tmp_path: Path
) -> None:
    before = look(engine)
    locked = tmp_path / "locked"
    undo = f"""
    import pathlib
    with op.get_context().autocommit_block():
        if pathlib.Path({str(locked)!r}).exists():
            pathlib.Path({str(locked)!r}).unlink()
            op.execute("DO $$ BEGIN RAISE lock_not_available; END $$")
    """
    environment.add("four", "pass", undo)
    environment.add("five", "pass")
    run_id = migrate(fleet(), tenants=["k1"]).run_id
    locked.touch()

    report = downgrade_run(fleet(), run_id, jobs=0)

    assert not locked.exists()
    assert [each.attempts for each in report.migrated] == [2]
    assert look(engine) == before
