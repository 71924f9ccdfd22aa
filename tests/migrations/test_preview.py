"""A preview shows the steps of a migration, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine, event, text

from tenantkit import ConfigurationError, Tenancy, TenantNotFoundError
from tenantkit.migrations import Preview, Rehearsal, migrate, preview, upgrade_shared
from tenantkit.postgres.advisory_locks import PLACEMENT
from tenantkit.registry import versions
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape
from tests.support.catalog import fingerprint, schemas

Make = Callable[..., Tenancy]

BASE = """
op.create_table("a", sa.Column("x", sa.Integer, sa.Identity(), primary_key=True), sa.Column("t", sa.Text), schema="tenant")
op.execute("INSERT INTO a (t) VALUES ('one')")
op.execute("CREATE SEQUENCE counted INCREMENT BY 5 START 7 CACHE 3 MAXVALUE 1000 CYCLE")
"""
ADD = 'op.add_column("a", sa.Column("y", sa.Integer), schema="tenant")'
DRAWS_NUMBERS = """
op.bulk_insert(sa.table("a", sa.column("t", sa.Text), schema="tenant"), [{"t": "two; -- 100% 'x'"}, {"t": None}])
op.execute("INSERT INTO a (t) VALUES (nextval('counted')::text)")
op.execute("CREATE TABLE s (id serial, half int)")
op.execute("INSERT INTO s (half) VALUES (1)")
op.execute("COMMENT ON TABLE s IS '100%'")
"""


def everything(engine: Engine) -> dict[str, Any]:
    """Return the content of a database, with object ids, files, row versions and values of sequences."""
    found: dict[str, Any] = dict.fromkeys(schemas(engine))
    if "tenantkit" in found:
        found = {schema: fingerprint(engine, schema) for schema in found}
    with engine.connect() as connection:
        files = "SELECT oid::regclass::text, relfilenode FROM pg_class WHERE oid >= 16384 ORDER BY oid"
        found["files"] = [tuple(row) for row in connection.exec_driver_sql(files)]
    return found


@contextmanager
def closing_engine(url: URL) -> Generator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(BASE, tuple(f"k{number}" for number in range(5)))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make, engine: Engine) -> Tenancy:
    """Five tenants at revision one; a test adds further revisions."""
    environment.add("one", BASE)
    return migrated_tenancy()


@pytest.fixture
def untouched(engine: Engine) -> Callable[..., Preview]:
    """Make a preview, and check that the database is unchanged."""

    def look(*args: Any, **options: Any) -> Preview:
        before = everything(engine)
        found = preview(*args, **options)
        assert everything(engine) == before
        return found

    return look


def rehearsal(found: Preview, number: int = 0) -> Rehearsal:
    result = found.groups[number].rehearsal
    assert result is not None
    return result


def test_it_lists_placements_and_steps_by_revision(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", ADD)
    migrate(fleet, tenants=["k3"])
    (environment.folder / "tenant" / "three.py").write_text(
        '"""Count things.\n\nAnd more."""\nrevision = "three"\ndown_revision = "two"\ndef upgrade(): pass\n'
    )
    found = untouched(fleet)
    assert (found.command, found.target, found.registry_is_current, found.shared) == ("migrate", "head", True, None)
    assert [
        (group.from_revision, group.to_revision, [each.key for each in group.placements]) for group in found.groups
    ] == [("one", "three", ["k0", "k1", "k2", "k4"]), ("two", "three", ["k3"])]
    assert [(step.revision, step.message) for step in found.groups[0].steps] == [
        ("two", ""),
        ("three", "Count things."),
    ]
    assert (found.would_change, found.unchanged, found.would_fail) == (5, 0, ())
    assert found.groups[0].rehearsal is None
    assert [group.placements[0].schema for group in untouched(fleet, "two", tenants=["k2", "k3"]).groups] == ["t_k2"]


def test_the_migration_has_the_steps_of_its_preview(fleet: Tenancy, environment: Environment) -> None:
    environment.add("two", ADD)
    environment.add("three", "pass")
    told = preview(fleet)
    report = migrate(fleet)
    assert {outcome.key for outcome in report.outcomes} == {each.key for each in told.groups[0].placements}
    assert {outcome.to_revision for outcome in report.outcomes} == {told.groups[0].to_revision}
    assert preview(fleet).groups == ()
    assert preview(fleet).unchanged == 5


def test_a_downgrade_has_a_preview_too(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", ADD, 'op.drop_column("a", "y", schema="tenant")')
    migrate(fleet)
    found = untouched(fleet, "-1", command="downgrade", scripts=True)
    assert [(group.from_revision, group.to_revision) for group in found.groups] == [("two", "one")]
    assert [step.revision for step in found.groups[0].steps] == ["two"]
    assert 'ALTER TABLE "t_k0".a DROP COLUMN y' in (rehearsal(found).script or "")
    assert [group.to_revision for group in untouched(fleet, "base", command="downgrade").groups] == [None]


def test_branches_end_at_their_heads(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("left", "pass", after="one")
    environment.add("right", "pass", after="one")
    with pytest.raises(ConfigurationError, match="Join them"):
        preview(fleet)
    assert untouched(fleet, "heads").groups[0].to_revision == "left,right"
    migrate(fleet, "heads")
    assert untouched(fleet, "left@-1", command="downgrade").groups[0].to_revision == "right"


def test_tenants_that_would_be_refused_are_named(
    fleet: Tenancy, environment: Environment, engine: Engine, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", ADD)
    with engine.begin() as connection:
        connection.execute(text("UPDATE t_k1.alembic_version SET version_num = 'future'"))
        connection.execute(text("DROP SCHEMA t_k2 CASCADE"))
    found = untouched(fleet)
    assert [(outcome.key, outcome.from_revision) for outcome in found.would_fail] == [("k1", "future"), ("k2", None)]
    assert (found.would_change, found.unchanged) == (3, 0)
    with pytest.raises(TenantNotFoundError):
        preview(fleet, tenants=["nobody"])


def test_an_empty_database_stays_empty(
    make_database: Callable[..., URL], migrated_tenancy: Make, environment: Environment
) -> None:
    environment.add("one", BASE)
    environment.add("s1", 'op.create_table("plan", sa.Column("id", sa.Integer), schema="shared")', line="shared")
    url = make_database()
    tenancy = migrated_tenancy(database=url)
    with closing_engine(url) as looking:
        before = everything(looking)
        found = preview(tenancy, scripts=True)
        assert everything(looking) == before
    assert (found.registry_is_current, found.groups, found.unchanged) == (False, (), 0)
    assert found.shared is not None
    assert found.shared.rehearsal is not None
    assert "CREATE TABLE shared.plan" in (found.shared.rehearsal.script or "")


def test_an_older_registry_is_read_and_unchanged(
    make_database: Callable[..., URL],
    migrated_tenancy: Make,
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment.add("one", BASE)
    url = make_database()
    tenancy = migrated_tenancy(database=url)
    with monkeypatch.context() as patched:
        patched.setattr(versions, "_STEPS", versions._STEPS[:1])
        with tenancy.engine.begin() as connection:
            versions.install(connection)
    with closing_engine(url) as looking:
        with looking.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO tenantkit.tenants (key, name, status, schema) VALUES ('old', 'Old', 'active', 't_old')"
            )
            connection.exec_driver_sql("CREATE SCHEMA t_old")
        before = everything(looking)
        found = preview(tenancy)
        assert everything(looking) == before
    assert found.registry_is_current is False
    assert [group.placements[0].key for group in found.groups] == ["old"]


@pytest.mark.all_cases
def test_limits_are_checked_and_hold_in_rehearsals(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", "op.execute('SELECT pg_sleep(5)')")
    found = untouched(fleet, scripts=True, statement_timeout="500ms")
    assert {failure.sqlstate for failure in found.would_fail} == {"57014"}
    with pytest.raises(ConfigurationError, match="lock_timeout='soon' is no length of time"):
        untouched(fleet, scripts=True, lock_timeout="soon")


def test_the_script_has_the_result_of_the_migration(
    fleet: Tenancy, environment: Environment, engine: Engine, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", ADD)
    environment.add("three", DRAWS_NUMBERS)
    script = rehearsal(untouched(fleet, scripts=True, statement_timeout="7s", lock_timeout="3s")).script
    assert script is not None
    assert "lock_timeout = '3s'" in script
    assert "statement_timeout = '7s'" in script
    url = engine.url.set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(script.encode())
    migrate(fleet, tenants=["k1"])
    with engine.connect() as looking:
        assert shape(looking, "t_k0") == shape(looking, "t_k1")
        assert rows(looking, "t_k0") == rows(looking, "t_k1")
        assert "column a.y integer " in shape(looking, "t_k0")


def test_a_rehearsal_restores_sequences_and_leaves_no_session_state(
    fleet: Tenancy, environment: Environment, engine: Engine, untouched: Callable[..., Preview]
) -> None:
    environment.add("s1", 'op.execute("CREATE SEQUENCE shared.global")', line="shared")
    upgrade_shared(fleet)
    environment.add("two", f"{DRAWS_NUMBERS}\nop.execute(\"SELECT nextval('shared.global'), pg_advisory_lock(4711)\")")
    found = untouched(fleet, scripts=True)
    assert "pg_advisory_lock" in (rehearsal(found).script or "")
    with engine.connect() as connection:
        locks = (
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE datname = current_database() AND locktype = 'advisory' AND objid = 4711"
        )
        assert connection.exec_driver_sql(locks).scalar() == 0


def test_shared_revisions_are_rehearsed_first_and_tenants_after_them(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("s1", 'op.execute("CREATE TABLE shared.plan (id int PRIMARY KEY)")', line="shared")
    environment.add("two", 'op.execute("ALTER TABLE a ADD plan int REFERENCES shared.plan")')
    found = untouched(fleet, scripts=True)
    assert found.shared is not None
    assert [step.revision for step in found.shared.steps] == ["s1"]
    assert found.shared.rehearsal is not None
    assert "CREATE TABLE shared.plan" in (found.shared.rehearsal.script or "")
    assert "REFERENCES shared.plan" in (rehearsal(found).script or "")
    assert found.would_fail == ()


@pytest.mark.parametrize(
    ("revision", "why"),
    [
        ("op.get_bind().execute(sa.text('SELECT 1'))", "uses the database itself"),
        (
            "import uuid; op.execute(f\"COMMENT ON TABLE a IS '{uuid.uuid4()}'\")",
            "does not send the same statements each time",
        ),
    ],
)
def test_a_revision_that_cannot_be_replayed_has_a_reason_and_no_script(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview], revision: str, why: str
) -> None:
    environment.add("two", revision)
    found = rehearsal(untouched(fleet, scripts=True))
    assert found.script is None
    assert why in (found.obstacle or "")
    assert "two" in (found.obstacle or "")


def test_with_the_engine_alembic_there_is_no_script(fleet: Tenancy, environment: Environment) -> None:
    environment.add("two", ADD)
    found = rehearsal(preview(fleet, scripts=True, engine="alembic"))
    assert (found.script, found.obstacle) == (None, "engine='alembic' was given")


CONCURRENTLY = """
with op.get_context().autocommit_block():
    op.create_index("ix", "a", ["t"], schema="tenant", postgresql_concurrently=True)
"""


def test_revisions_before_a_step_outside_of_a_transaction_are_rehearsed(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", ADD)
    environment.add("three", f"op.execute('CREATE TABLE before ()')\n{CONCURRENTLY}")
    environment.add("four", ADD.replace("y", "z"))
    found = rehearsal(untouched(fleet, scripts=True))
    assert (found.autocommit, found.obstacle, found.failures) == ("three", None, ())
    assert "ADD COLUMN y" in (found.script or "")
    for absent in ("CREATE TABLE before", "ix", "ADD COLUMN z"):
        assert absent not in (found.script or "")
    assert "version_num = 'two'" in (found.script or "")
    alone = rehearsal(untouched(fleet, scripts=True, tenants=["k1"]))
    assert (alone.autocommit, alone.failures) == ("three", ())


def test_a_first_step_outside_of_a_transaction_leaves_no_script(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", CONCURRENTLY)
    found = rehearsal(untouched(fleet, scripts=True))
    assert (found.autocommit, found.script, found.failures) == ("two", None, ())


def test_after_a_shared_step_outside_of_a_transaction_no_tenant_is_rehearsed(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add(
        "s1", "with op.get_context().autocommit_block(): op.execute('CREATE TABLE shared.c ()')", line="shared"
    )
    environment.add("two", ADD)
    found = untouched(fleet, scripts=True)
    assert found.shared is not None
    assert found.shared.rehearsal is not None
    assert found.shared.rehearsal.autocommit == "s1"
    assert "migrate --shared-only" in (rehearsal(found).obstacle or "")


def test_one_placement_is_rehearsed_alone(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", ADD)
    assert 'ALTER TABLE "t_k4".a ADD COLUMN y' in (
        rehearsal(untouched(fleet, scripts=True, tenants=["k4"])).script or ""
    )


def test_a_rehearsal_that_fails_is_reported(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", "op.execute(\"INSERT INTO a (t) VALUES ('x')\")\nop.execute('SELECT 1 / 0')")
    found = untouched(fleet, scripts=True)
    assert {(outcome.sqlstate, outcome.error) for outcome in found.would_fail} == {
        ("22012", "DivisionByZero: division by zero")
    }
    assert rehearsal(found).script is None


def test_a_tenant_that_a_run_is_migrating_is_not_rehearsed(
    fleet: Tenancy,
    environment: Environment,
    engine: Engine,
    untouched: Callable[..., Preview],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.PATIENCE", 0.2)
    environment.add("two", ADD)
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({PLACEMENT.format(schema=':schema')})"), {"schema": "t_k0"})
        found = untouched(fleet, scripts=True, tenants=["k0"])
    assert ["a run is migrating it" in (outcome.error or "") for outcome in found.would_fail] == [True]


def test_without_scripts_the_transaction_is_read_only(fleet: Tenancy, environment: Environment) -> None:
    environment.add("two", ADD)
    sent: list[str] = []
    event.listen(fleet.engine, "before_cursor_execute", lambda *seen: sent.append(seen[2]))
    preview(fleet)
    assert "SET TRANSACTION READ ONLY" in sent
    assert not [statement for statement in sent if "INSERT" in statement or "UPDATE" in statement]


def test_a_preview_of_a_phase_ends_as_the_migration_does(
    fleet: Tenancy, environment: Environment, untouched: Callable[..., Preview]
) -> None:
    environment.add("two", ADD)
    file = environment.folder / "tenant" / f"{environment.add('three', 'pass')}.py"
    file.write_text(f'phase = "contract"\n{file.read_text()}')
    environment.add("s1", "op.execute('CREATE TABLE shared.one ()')", line="shared")
    file = environment.folder / "shared" / f"{environment.add('s2', 'pass', line='shared')}.py"
    file.write_text(f'phase = "contract"\n{file.read_text()}')
    found = untouched(fleet, phase="expand", scripts=True)
    assert [group.to_revision for group in found.groups] == ["two"]
    assert "version_num = 'two'" in (rehearsal(found).script or "")
    assert found.shared is not None
    assert [step.revision for step in found.shared.steps] == ["s1"]
    report = migrate(fleet, phase="expand")
    assert {outcome.to_revision for outcome in report.outcomes} == {"two"}
    assert report.shared is not None
    assert report.shared.to_revision == "s1"
