"""Tenants in two databases: sessions, their life, and migrations with their ledger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from sqlalchemy import URL, Connection, Engine, event, select, text
from sqlalchemy.orm import Session

from tenantkit import ConfigurationError, MigrationError, ProvisioningError, Tenancy, drift, migrations
from tenantkit.migrations.dry_run.forecast import forecast
from tenantkit.migrations.runs.reconcile import reconcile
from tenantkit.migrations.runs.requests import taking_back
from tenantkit.runs import maintenance
from tenantkit.runs.claims import claim, share
from tenantkit.tenant import Placement
from tests.isolation.two_databases import (
    APPLICATION,
    EU,
    Note,
    Plan,
    dying,
    make_sync,
    mark,
)
from tests.support.catalog import schemas


def test_a_tenants_session_works_in_its_own_database(any_tenancy: Any) -> None:
    for key in ("acme", "berta"):
        with any_tenancy.session(key) as session:
            assert session.scalars(select(Note.text)).all() == [key]
            assert session.execute(text("SELECT text FROM note")).scalar_one() == key
            session.add(Note(id=2, text="more"))
            session.commit()
            assert session.scalars(select(Note.text).order_by(Note.id)).all() == [key, "more"]
    with any_tenancy.session("acme") as session:
        assert session.execute(text("SELECT current_database()")).scalar_one() == any_tenancy.engine.url.database


def test_shared_tables_stay_in_the_main_database(any_tenancy: Any) -> None:
    with any_tenancy.shared_session() as session:
        session.add(Plan(name="free"))
        session.commit()
        assert session.scalars(select(Plan.name)).all() == ["free"]


def test_settings_of_a_binding_hold_in_each_transaction_and_nowhere_else(any_tenancy: Any) -> None:
    asked = text("SELECT current_setting('tenantkit.tenant', true)")
    with any_tenancy.shared_session() as session:
        assert session.execute(asked).scalar_one() in {None, ""}
    mark(getattr(any_tenancy, "sync", any_tenancy))
    with any_tenancy.session("berta") as session:
        number = str(session.tenant.id)
        assert session.execute(asked).scalar_one() == number
        session.execute(text("RESET ALL"))
        assert session.execute(asked).scalar_one() == number
        assert session.execute(text("SELECT text FROM note")).scalar_one() == "berta"
        session.rollback()
        assert session.execute(asked).scalar_one() == number
    with any_tenancy.session("acme") as session:
        assert session.execute(asked).scalar_one() == str(session.tenant.id) != number
    with any_tenancy.shared_session() as session:
        assert session.execute(asked).scalar_one() in {None, ""}


def test_code_asks_for_the_revision_of_a_tenant_in_its_own_database(any_tenancy: Any) -> None:
    assert any_tenancy.at_revision("acme", "r1")
    assert any_tenancy.at_revision("berta", "r1")


def test_a_connection_to_another_database_is_refused(pair: Tenancy) -> None:
    with pair.engine.connect() as connection, pytest.raises(ConfigurationError, match="another database"):
        pair.session("berta", bind=connection)
    with pair.databases.engine("eu").connect() as connection, pair.session("berta", bind=connection) as session:
        assert session.scalars(select(Note.text)).all() == ["berta"]


def test_a_tenant_of_another_database_lives_and_dies_there(tenancy: Tenancy, main: Engine, eu: Engine) -> None:
    before = schemas(main), schemas(eu)
    berta = tenancy.create("berta", domains=["berta.example.com"], attributes=EU)
    assert (berta.isolation, berta.placement) == ("schema", Placement("eu", "t_berta"))
    assert (schemas(main), schemas(eu)) == (before[0], before[1] | {"t_berta"})
    assert tenancy.diagnose() == []
    tenancy.suspend("berta")
    assert tenancy.drop("berta").key == "berta"
    assert (schemas(main), schemas(eu), tenancy.list()) == (*before, [])
    assert tenancy.create("berta", attributes=EU).schema == "t_berta~2"


def test_a_schema_of_that_name_is_in_the_way_in_its_own_database_only(
    tenancy: Tenancy, main: Engine, eu: Engine
) -> None:
    for engine, key in ((main, "acme"), (eu, "berta")):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA t_{key}")
    with pytest.raises(ProvisioningError, match="'t_berta' exists"):
        tenancy.create("berta", attributes=EU)
    assert tenancy.create("acme", attributes=EU).placement == Placement("eu", "t_acme")


def test_a_creation_that_failed_leaves_nothing_in_the_other_database(tenancy: Tenancy, eu: Engine) -> None:
    def fail(_session: object) -> None:
        raise ValueError("no")

    before = schemas(eu)
    with pytest.raises(ProvisioningError, match="seeding"):
        tenancy.create("berta", attributes=EU, seed=fail)
    assert schemas(eu) == before
    assert tenancy.create("berta", attributes=EU).status == "active"


def _statement(part: str) -> Callable[..., bool]:
    return lambda _connection, _cursor, statement, *_: part in statement


@pytest.mark.parametrize("recover", ["create", "drop", "repair"])
def test_a_creation_that_died_between_the_two_commits_is_taken_up(tenancy: Tenancy, eu: Engine, recover: str) -> None:
    """The placement is committed, the registry does not say so."""
    commits: list[object] = []

    def at_the_second(*_: object) -> bool:  # the claim of the key is the first one
        commits.append(None)
        return len(commits) == 2

    with dying(tenancy.engine, "commit", at_the_second), pytest.raises(SystemExit):
        tenancy.create("berta", attributes=EU, seed=lambda session: session.add(Note(id=1, text="first")))
    assert "t_berta" in schemas(eu)
    tenancy.cache.clear()
    (finding,) = tenancy.diagnose()
    assert (finding.subject, finding.problem) == ("berta", "its creation never finished")
    if recover == "create":
        tenancy.create("berta", attributes=EU)
        with tenancy.session("berta") as session:
            assert session.scalars(select(Note)).all() == []
    else:
        tenancy.drop("berta") if recover == "drop" else tenancy.repair()
        assert "t_berta" not in schemas(eu)
        assert tenancy.list() == []
    assert tenancy.diagnose() == []


@pytest.mark.parametrize("recover", ["create", "drop", "repair"])
def test_a_removal_that_died_between_the_two_commits_is_finished(tenancy: Tenancy, eu: Engine, recover: str) -> None:
    tenancy.create("berta", attributes=EU)
    with (
        dying(tenancy.engine, "before_cursor_execute", _statement("DELETE FROM tenantkit.tenants")),
        pytest.raises(SystemExit),
    ):
        tenancy.drop("berta")
    commits: list[object] = []

    def at_the_last(*_: object) -> bool:
        commits.append(None)
        return len(commits) == 2

    with dying(tenancy.engine, "commit", at_the_last), pytest.raises(SystemExit):
        tenancy.drop("berta")
    assert "t_berta" not in schemas(eu)
    assert [tenant.status for tenant in tenancy.list()] == ["dropping"]
    if recover == "create":
        assert tenancy.create("berta", attributes=EU).schema == "t_berta~2"
    else:
        tenancy.drop("berta") if recover == "drop" else tenancy.repair()
        assert tenancy.list() == []
    assert tenancy.diagnose() == []


def test_the_doctor_looks_into_each_database(fleet: Tenancy, main: Engine, eu: Engine) -> None:
    with eu.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA t_e1 CASCADE")
        connection.exec_driver_sql("COMMENT ON SCHEMA t_e2 IS 'mine'")
        connection.exec_driver_sql("CREATE SCHEMA lost")
        connection.exec_driver_sql("COMMENT ON SCHEMA lost IS 'tenantkit tenant 99999'")
    with main.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA t_e1")
    found = [(finding.subject, finding.problem.partition(" ")[2]) for finding in fleet.diagnose()]
    assert [subject for subject, _ in found] == ["e1", "e2", "lost"]
    assert "does not exist" in found[0][1]
    assert "lacks the comment" in found[1][1]
    assert "is not in the registry" in found[2][1]


@pytest.mark.parametrize("options", [{}, {"jobs": 0}, {"engine": "alembic", "jobs": 1}, {"maintenance": True}])
def test_a_fleet_in_two_databases_is_migrated_and_the_ledger_knows(fleet: Tenancy, options: dict[str, Any]) -> None:
    report = migrations.migrate(fleet, **options)
    assert sorted(outcome.key for outcome in report.migrated) == sorted(tenant.key for tenant in fleet.list())
    assert report.failures == ()
    if not options:
        assert report.engines == {"alembic": 4, "replay": 4}
    run, outcomes = migrations.get_run(fleet, report.run_id)
    assert (run.done, run.failed, run.planned) == (8, 0, 0)
    assert {(each.from_revision, each.to_revision, each.ok) for each in outcomes} == {("r1", "r2", True)}
    assert {each.key: each.placement for each in outcomes} == {each.key: each.placement for each in fleet.list()}
    status = migrations.status(fleet)
    assert [placement.state for placement in status.placements] == ["current"] * 8
    assert {tenant.status for tenant in fleet.list()} == {"active"}
    assert migrations.migrate(fleet).unchanged == 8
    back = migrations.downgrade_run(fleet, report.run_id)
    assert len(back.migrated) == 8
    assert {placement.revision for placement in migrations.status(fleet).placements} == {"r1"}


def test_a_preview_tells_what_goes_to_each_database(fleet: Tenancy, eu: Engine) -> None:
    preview = migrations.preview(fleet, scripts=True)
    assert [(len(group.placements), group.rehearsal and group.rehearsal.obstacle) for group in preview.groups] == [
        (4, None),
        (4, None),
    ]
    assert {each.schema for group in preview.groups for each in group.placements} == {
        tenant.schema for tenant in fleet.list()
    }
    scripts = [(group.rehearsal and group.rehearsal.script) or "" for group in preview.groups]
    assert sorted(("t_m0" in script, "t_e0" in script) for script in scripts) == [(False, True), (True, False)]
    assert {placement.revision for placement in migrations.status(fleet).placements} == {"r1"}


@pytest.mark.all_cases
def test_a_failure_in_the_other_database_is_written_down(fleet: Tenancy, eu: Engine) -> None:
    with eu.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE t_e3.note ADD COLUMN pinned boolean")
    with pytest.raises(MigrationError) as failed:
        migrations.migrate(fleet)
    (failure,) = failed.value.report.failures
    assert (failure.key, failure.sqlstate) == ("e3", "42701")
    run, outcomes = migrations.get_run(fleet, failed.value.report.run_id)
    assert (run.done, run.failed) == (7, 1)
    assert [outcome.key for outcome in outcomes if not outcome.ok] == ["e3"]
    status = {placement.key: placement for placement in migrations.status(fleet).placements}
    assert (status["e3"].state, status["m3"].state) == ("behind", "current")
    assert "already exists" in (status["e3"].error or "")


def test_what_a_run_did_not_live_to_write_down_is_read_from_the_local_ledger(fleet: Tenancy) -> None:
    """It dies after the placement's commit, and before the ledger has its line."""
    with (
        dying(fleet.engine, "before_cursor_execute", _statement("UPDATE tenantkit.outcomes SET")),
        pytest.raises(SystemExit),
    ):
        migrations.migrate(fleet, tenants=["e0", "e1"], jobs=0)
    (run, *_), placements = migrations.list_runs(fleet), migrations.status(fleet).placements
    assert (run.done, run.planned) == (0, 2)
    assert {placement.key: placement.revision for placement in placements}["e0"] == "r2"
    report = migrations.migrate(fleet, tenants=["e0", "e1"], jobs=0)
    assert [outcome.key for outcome in report.migrated] == ["e1"]
    _, outcomes = migrations.get_run(fleet, run.id)
    assert [(each.key, each.engine, each.from_revision, each.to_revision, each.ok) for each in outcomes] == [
        ("e0", "alembic", "r1", "r2", True),
        ("e1", None, "r1", "r1", False),
    ]
    assert [outcome.key for outcome in migrations.downgrade_run(fleet, run.id).migrated] == ["e0"]


@pytest.mark.parametrize("jobs", [0, None])
def test_a_run_that_begins_before_a_line_is_copied_copies_it(
    fleet: Tenancy, urls: tuple[URL, URL], jobs: int | None
) -> None:
    """Another run begins between the placement's commit and the line in the registry."""
    is_line = _statement("UPDATE tenantkit.outcomes SET")
    copied: list[list[str]] = []

    def begin_another(*arguments: Any) -> None:
        if is_line(*arguments):
            with other.engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
                reconcile(other, connection)
                done = "SELECT key FROM tenantkit.outcomes JOIN tenantkit.tenants ON id = tenant_id WHERE outcomes.status = 'done'"
                copied.append(list(connection.exec_driver_sql(done).scalars()))

    with closing(make_sync(*urls, migrations=fleet.migrations)) as other:
        event.listen(fleet.engine, "before_cursor_execute", begin_another)
        report = migrations.migrate(fleet, where=EU, jobs=jobs)
        event.remove(fleet.engine, "before_cursor_execute", begin_another)
    assert "e0" in copied[0]
    _, outcomes = migrations.get_run(fleet, report.run_id)
    assert [(each.from_revision, each.to_revision, each.ok) for each in outcomes] == [("r1", "r2", True)] * 4
    assert {each.engine for each in outcomes} == ({"alembic"} if jobs == 0 else {"alembic", "replay"})
    assert len(migrations.downgrade_run(fleet, report.run_id).migrated) == 4


def test_each_database_has_the_ledger_of_its_tenants(fleet: Tenancy, main: Engine, eu: Engine) -> None:
    run = migrations.migrate(fleet).run_id
    columns = "tenant_id, status, engine, attempts, from_revision, to_revision"
    query = f"SELECT {columns} FROM tenantkit.outcomes WHERE run_id = {run} ORDER BY tenant_id"
    with main.connect() as connection, eu.connect() as other:
        everything = connection.exec_driver_sql(query).all()
        local = other.exec_driver_sql(query).all()
    ids = {tenant.id for tenant in fleet.list() if tenant.key.startswith("e")}
    assert local == [row for row in everything if row.tenant_id in ids]
    assert {(row.status, row.from_revision, row.to_revision) for row in local} == {("done", "r1", "r2")}


def test_what_a_run_did_not_live_to_write_down_is_known_before_it_is_taken_back(fleet: Tenancy) -> None:
    """A forecast reads the local ledger as a run does, and writes nothing."""
    with (
        dying(fleet.engine, "before_cursor_execute", _statement("UPDATE tenantkit.outcomes SET")),
        pytest.raises(SystemExit),
    ):
        migrations.migrate(fleet, tenants=["e0", "e1"], jobs=0)
    (run, *_) = migrations.list_runs(fleet)
    assert [placement.key for placement in forecast(fleet, taking_back(fleet, run.id, {})).placements] == ["e0"]
    (run, *_) = migrations.list_runs(fleet)
    assert (run.done, run.planned) == (0, 2)


def test_a_tenant_stays_in_maintenance_while_a_statement_is_at_work_in_its_own_database(
    tenancy: Tenancy, main: Engine, eu: Engine
) -> None:
    """The claim of a dead run is in the database of the placement."""
    tenancy.create("berta", attributes=EU)
    with main.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = 'maintenance', claim = 'run 77'")
    with eu.begin() as connection:
        assert claim(connection, "t_berta")
        tenancy.repair()
        assert [tenant.status for tenant in tenancy.list()] == ["maintenance"]
    with main.begin() as connection:  # of no meaning there
        assert claim(connection, "t_berta~2")
        tenancy.repair()
    assert [tenant.status for tenant in tenancy.list()] == ["active"]


@pytest.mark.parametrize(("key", "database"), [("acme", "eu"), ("berta", "main")])
def test_a_callers_connection_to_another_database_is_refused(pair: Tenancy, key: str, database: str) -> None:
    engine = pair.databases.engine(database).execution_options(logging_token="mine")
    with engine.connect() as connection, pytest.raises(ConfigurationError, match="another database than the tenant's"):
        pair.session(key, bind=connection)
    with pair.databases.engine(pair.get(key).placement.database).connect() as connection:
        assert pair.session(key, bind=connection).scalars(text("SELECT text FROM note")).all() == [key]


def make_other(urls: tuple[URL, URL], name: str) -> Tenancy:
    """Make a tenancy whose only database is another one than that of this name."""
    return Tenancy(urls[1] if name == "main" else urls[0], **APPLICATION)


@pytest.mark.parametrize(("key", "name"), [("acme", "main"), ("berta", "eu")])
def test_connections_and_engines_of_another_tenancy_are_refused(
    pair: Tenancy, urls: tuple[URL, URL], key: str, name: str
) -> None:
    """Its database has a schema of the same name."""
    with closing(make_other(urls, name)) as other, other.engine.connect() as connection:
        assert connection.scalars(text(f"SELECT text FROM t_{key}.note")).all() == ["decoy"]
        with pytest.raises(ConfigurationError, match="bind= is a connection of another engine"):
            pair.session(key, bind=connection)
        with pytest.raises(ConfigurationError, match="bind= is another engine than the tenancy's"):
            pair.session(key, bind=connection.engine)
        with pair.session(key) as session:
            for bind in (connection, connection.engine):
                with pytest.raises(ConfigurationError, match="on its tenancy's engine only"):
                    session.scalars(select(Note.text), bind_arguments={"bind": bind})
            own = {"bind": session.get_bind()}
            assert session.scalars(select(Note.text), bind_arguments=own).all() == [key]


WAYS_TO_ANOTHER_ENGINE: dict[str, Callable[[Session, Any], object]] = {
    "bind_mapper": lambda session, bind: session.bind_mapper(Note, bind),
    "bind_table": lambda session, bind: session.bind_table(Note.__table__, bind),
    "bind": lambda session, bind: setattr(session, "bind", bind),
    "get_bind of a subclass": lambda session, bind: setattr(session, "get_bind", lambda *_, **__: bind),
}
WAYS_OF_TEXT = [WAYS_TO_ANOTHER_ENGINE[name] for name in ("bind", "get_bind of a subclass")]


@pytest.mark.parametrize("kind", ["engine", "connection"])
@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.parametrize(("key", "name"), [("acme", "main"), ("berta", "eu")])
@pytest.mark.parametrize("way", WAYS_TO_ANOTHER_ENGINE.values(), ids=WAYS_TO_ANOTHER_ENGINE)
def test_a_session_cannot_be_led_to_the_engine_of_another_tenancy(
    pair: Tenancy,
    urls: tuple[URL, URL],
    way: Callable[[Session, Any], object],
    key: str,
    name: str,
    has_begun: bool,
    kind: str,
) -> None:
    with closing(make_other(urls, name)) as other, other.engine.connect() as connection:
        with pair.session(key) as session:
            if has_begun:
                assert session.scalars(select(Note.text)).all() == [key]
            way(session, connection if kind == "connection" else connection.engine)
            refused = partial(pytest.raises, ConfigurationError, match="on its tenancy's engine only")
            for _ in range(2):
                with refused():
                    session.scalars(select(Note.text))
                if way in WAYS_OF_TEXT:
                    with refused():
                        session.execute(text("SELECT 1"))
            session.add(Note(id=7, text="lost"))
            with refused():
                session.flush()
        with other.shared_session() as shared:
            assert shared.scalars(text("SHOW search_path")).all() == ['"$user", public']


def test_a_callers_connection_may_be_of_an_engine_with_options_that_is_older_than_the_tenancy(
    pair: Tenancy, main: Engine, eu: Engine
) -> None:
    theirs = {"acme": main.execution_options(logging_token="x"), "berta": eu.execution_options(logging_token="x")}
    tenancy = Tenancy({"main": main, "eu": eu}, **APPLICATION)
    for key, engine in theirs.items():
        with engine.connect() as connection, tenancy.session(key, bind=connection) as session:
            assert session.scalars(select(Note.text)).all() == [key]


def test_a_tenants_binding_is_kept_in_whatever_database_it_is(any_tenancy: Any) -> None:
    for key in ("acme", "berta"):
        tenant = any_tenancy.get(key)
        assert any_tenancy.binding(tenant) is any_tenancy.binding(tenant)


@pytest.mark.all_cases
def test_a_check_compares_the_tenants_of_all_databases(fleet: Tenancy, eu: Engine) -> None:
    assert not drift.check(fleet).has_drift
    with eu.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE t_e2.note ADD COLUMN extra int")
    report = drift.check(fleet, models=True)
    (odd,) = report.odd
    assert dict(odd.schemas) == {"e2": "t_e2"}
    with eu.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA t_e3 CASCADE")
    assert drift.check(fleet).missing == ("e3",)


def test_a_check_names_all_tenants_who_share_a_placement_and_counts_it_once(tenancy: Tenancy, main: Engine) -> None:
    for key in ("a0", "a1", "b0", "b1", "b2"):
        tenancy.create(key)
    with main.begin() as connection:
        connection.exec_driver_sql("DROP INDEX tenantkit.tenants_placement_key")
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET schema = 't_b0' WHERE key ^@ 'b'")
        connection.exec_driver_sql("ALTER TABLE t_b0.note ADD COLUMN extra int")
    report = drift.check(tenancy)
    assert [(group.tenants, group.alike) for group in report.groups] == [(5, 2)]
    (odd,) = report.odd
    assert dict(odd.schemas) == dict.fromkeys(["b0", "b1", "b2"], "t_b0")
    assert all('DROP COLUMN "extra"' in odd.script(key) for key in odd.schemas)
    (odd,) = drift.check(tenancy, tenants=["b1"]).odd
    assert list(odd.schemas) == list(odd.scripts) == ["b1"]


def test_a_tenant_that_leaves_maintenance_takes_no_claim_of_another(
    fleet: Tenancy, main: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def asking(there: Connection, schema: str) -> bool:
        asked.append(schema)
        return share(there, schema)

    monkeypatch.setattr(maintenance, "share", asking)
    with main.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = 'maintenance', claim = 'run 1'")
        maintenance.leave(connection, fleet.get("e1").id, 1, databases=fleet.databases)
    assert asked == ["t_e1"]


def test_a_tenant_leaves_maintenance_beside_a_backup_in_another_database(fleet: Tenancy, main: Engine) -> None:
    def status_after_leaving() -> str:
        with main.begin() as connection:
            connection.exec_driver_sql("UPDATE tenantkit.tenants SET status = 'maintenance', claim = 'run 1'")
            maintenance.leave(connection, tenant.id, 1, databases=fleet.databases)
        fleet.cache.clear()
        return str(fleet.get("e1").status)

    tenant = fleet.get("e1")
    engine = fleet.databases.engine(tenant.placement.database)
    for hold, status in ((claim, "maintenance"), (share, "active")):
        with engine.begin() as there:
            assert hold(there, tenant.schema)
            assert status_after_leaving() == status
