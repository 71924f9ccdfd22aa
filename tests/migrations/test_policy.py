"""The order of a run: catalogs and ledger after waves, stops and selections."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Engine

from tenantkit import ConfigurationError, MigrationError, Tenancy, TenantNotFoundError
from tenantkit.migrations import (
    MigrationReport,
    Outcome,
    Progress,
    Wave,
    downgrade,
    downgrade_shared,
    get_run,
    migrate,
    stamp,
    unfinished,
)
from tests.migrations.environments import Environment
from tests.migrations.test_fleet import ONE, TWO

Make = Callable[..., Tenancy]
KEYS = [f"k{number}" for number in range(8)]

FAILS = "op.execute(\"DO $$ BEGIN IF current_schema() IN ({}) THEN RAISE 'no luck'; END IF; END $$\")"


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(
        ONE, tuple(KEYS), attributes=lambda number: {"plan": "pro" if number % 2 else "free", "seats": number}
    )


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Make:
    """Make tenancies of a fleet of eight tenants at revision one; the head is two."""
    environment.add("one", ONE, 'op.drop_table("a", schema="tenant")')
    environment.add("two", TWO, 'op.drop_column("a", "y", schema="tenant")')
    return migrated_tenancy


def failing_for(environment: Environment, *keys: str) -> None:
    """Add a revision that fails for these tenants."""
    environment.add("three", FAILS.format(", ".join(f"'t_{key}'" for key in keys)))


def at(engine: Engine, revision: str) -> list[str]:
    """Return the keys of the tenants whose schema is at a revision, and has its columns."""
    found = []
    with engine.connect() as connection:
        for key in KEYS:
            there = connection.exec_driver_sql(f"SELECT version_num FROM t_{key}.alembic_version").scalar()
            query = (
                f"SELECT count(*) FROM information_schema.columns WHERE table_schema = 't_{key}' AND table_name = 'a'"
            )
            assert connection.exec_driver_sql(query).scalar() == (1 if there == "one" else 2)
            found += [key] if there == revision else []
    return found


def ledger(engine: Engine, run_id: int, column: str = "status") -> dict[str, Any]:
    """Return the ledger's outcome of each tenant of a run."""
    query = f"SELECT key, o.{column} FROM tenantkit.outcomes o JOIN tenantkit.tenants t ON t.id = tenant_id WHERE run_id = {run_id}"
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.exec_driver_sql(query)}


def keys_of(states: dict[str, str], state: str) -> list[str]:
    return sorted(key for key, each in states.items() if each == state)


class Watcher(Progress):
    """Records the progress, and reads the catalogs between waves."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.keys: list[str] = []
        self.ended: list[Wave] = []
        self.checked: list[tuple[int, int, list[str]]] = []

    def started(self, total: int) -> None:
        self.total = total

    def finished(self, outcome: Outcome) -> None:
        self.keys.append(outcome.key)

    def wave_ended(self, wave: Wave) -> None:
        self.ended.append(wave)

    def check(self, wave: Wave) -> None:
        self.checked.append((wave.number, wave.count, at(self.engine, "two")))


def stopped(tenancy: Tenancy, **options: Any) -> MigrationReport:
    """Start a migration that is stopped, and return the report."""
    with pytest.raises(MigrationError, match="stopped because") as caught:
        migrate(tenancy, **options)
    report: MigrationReport = caught.value.report
    return report


def test_a_wave_is_done_before_the_check_and_the_next_begins_after_it(fleet: Make, engine: Engine) -> None:
    watcher = Watcher(engine)
    report = migrate(
        fleet(), canary=["k6"], waves=[30, 100], order="newest", check=watcher.check, progress=watcher, jobs=2
    )
    assert watcher.checked == [(1, 3, ["k6"]), (2, 3, ["k4", "k5", "k6", "k7"])]
    assert [sorted(outcome.key for outcome in wave.outcomes) for wave in watcher.ended] == [["k6"], ["k4", "k5", "k7"]]
    assert {wave.run_id for wave in watcher.ended} == {report.run_id}
    assert at(engine, "two") == KEYS
    assert (report.stopped, report.left, len(report.migrated)) == (None, 0, 8)


def test_only_the_first_wave_rehearses(fleet: Make, engine: Engine) -> None:
    report = migrate(fleet(), canary=2, waves=[50, 100], jobs=2)
    engines = ledger(engine, report.run_id, "engine")
    assert keys_of(engines, "alembic") == ["k0", "k1"]
    assert keys_of(engines, "replay") == KEYS[2:]


def test_a_pause_is_made_between_waves_only(fleet: Make, engine: Engine) -> None:
    seen: list[float] = []
    start = monotonic()
    migrate(fleet(), waves=[50, 100], pause=0.7, check=lambda _: seen.append(monotonic()), jobs=2)
    assert seen[0] - start > 0.7
    migrate(fleet(), waves=[50, 100], pause=3600, jobs=2)  # there is no wave, because all tenants are at the target


@pytest.mark.parametrize("jobs", [0, 2])
def test_a_check_that_fails_stops_the_run_and_a_resumption_continues(fleet: Make, engine: Engine, jobs: int) -> None:
    report = stopped(fleet(), waves=[50, 100], check=lambda _: False, jobs=jobs)
    assert at(engine, "two") == KEYS[:4]
    assert at(engine, "one") == KEYS[4:]
    states = ledger(engine, report.run_id)
    assert keys_of(states, "done") == KEYS[:4]
    assert keys_of(states, "planned") == KEYS[4:]
    assert (report.failures, len(report.migrated), report.left, report.unchanged) == ((), 4, 4, 0)
    assert report.stopped == "the check after wave 1 of 2 returned False"
    assert str(report) == (
        "4 migrated, 0 unchanged, 0 failed; stopped because the check after wave 1 of 2 returned False; 4 tenants were not "
        f"begun. 'tenantkit migrate --resume {report.run_id}' with the same options continues with those that are not done."
    )
    run, _ = get_run(fleet(), report.run_id)
    assert run.finished_at is not None

    target, keys, _ = unfinished(fleet(), report.run_id)
    assert keys == KEYS[4:]
    again = migrate(fleet(), target, tenants=keys, jobs=jobs)
    assert sorted(outcome.key for outcome in again.migrated) == KEYS[4:]
    assert at(engine, "two") == KEYS


def test_a_check_that_raises_stops_the_run_with_its_message(fleet: Make, engine: Engine) -> None:
    def check(wave: Wave) -> None:
        assert wave.number < 2, "latency doubled"

    report = stopped(fleet(), canary=1, waves=[50, 100], check=check)
    assert report.stopped == "the check after wave 2 of 3 failed: AssertionError: latency doubled"
    assert len(at(engine, "two")) == 5


@pytest.mark.parametrize("how", [{"jobs": 0}, {"jobs": 1}, {"jobs": 1, "engine": "alembic"}])
def test_with_on_error_stop_the_first_failure_stops_the_run(
    fleet: Make, environment: Environment, engine: Engine, how: Any
) -> None:
    failing_for(environment, "k4", "k6")
    report = stopped(fleet(), on_error="stop", **how)
    assert [outcome.key for outcome in report.failures] == ["k4"]
    assert report.stopped == "1 of 8 tenants failed"
    assert at(engine, "three") == KEYS[:4]
    assert at(engine, "one") == KEYS[4:]
    states = ledger(engine, report.run_id)
    assert (keys_of(states, "failed"), keys_of(states, "planned")) == (["k4"], ["k5", "k6", "k7"])
    assert report.left == 3
    assert not report.not_replayed or how == {"jobs": 1, "engine": "alembic"}


def test_a_failing_rehearsal_stops_a_run_too(fleet: Make, environment: Environment, engine: Engine) -> None:
    failing_for(environment, "k0")
    report = stopped(fleet(), on_error="stop", jobs=2)
    assert at(engine, "one") == KEYS
    assert (report.left, ledger(engine, report.run_id)["k1"]) == (7, "planned")


def test_a_run_continues_up_to_the_maximum_of_failures(fleet: Make, environment: Environment, engine: Engine) -> None:
    failing_for(environment, "k3", "k5")
    with pytest.raises(MigrationError, match="6 migrated, 0 unchanged, 2 failed; the first: k3") as caught:
        migrate(fleet(), max_failures="25%", jobs=1)
    assert caught.value.report.stopped is None
    assert at(engine, "three") == [key for key in KEYS if key not in {"k3", "k5"}]


def test_a_run_stops_after_more_failures_than_the_maximum(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    failing_for(environment, "k3", "k5")
    report = stopped(fleet(), max_failures=1, jobs=1, order="newest")
    assert report.stopped == "2 of 8 tenants failed, more than the permitted 1"
    assert at(engine, "three") == ["k4", "k6", "k7"]
    assert at(engine, "one") == ["k0", "k1", "k2", "k3", "k5"]
    assert keys_of(ledger(engine, report.run_id), "planned") == ["k0", "k1", "k2"]


FAILS_AMONG_OTHERS = """
    DO $$ BEGIN
        IF current_schema() = 't_k2' THEN
            WHILE 2 > (
                SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
                WHERE datname = current_database() AND locktype = 'advisory' AND classid = 0 AND objid IN (3, 4)
            ) LOOP PERFORM pg_sleep(0.01); END LOOP;
            RAISE 'no luck';
        ELSIF current_schema() IN ('t_k3', 't_k4') THEN
            PERFORM pg_advisory_xact_lock(right(current_schema(), 1)::int);
            WHILE NOT EXISTS (SELECT FROM tenantkit.outcomes WHERE status = 'failed')
            LOOP PERFORM pg_sleep(0.01); END LOOP;
        END IF;
    END $$
"""
"""The tenant k2 fails after k3 and k4 have begun, which continue until the ledger has its failure."""


def test_tenants_that_have_begun_are_finished_and_reported(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("three", f'op.execute("""{FAILS_AMONG_OTHERS}""")')
    report = stopped(fleet(), on_error="stop", jobs=3)
    # Three were begun together: k2, which failed, and two that took longer.
    assert at(engine, "three") == ["k0", "k1", "k3", "k4"]
    assert sorted(outcome.key for outcome in report.migrated) == ["k0", "k1", "k3", "k4"]
    states = ledger(engine, report.run_id)
    assert keys_of(states, "done") == ["k0", "k1", "k3", "k4"]
    assert keys_of(states, "planned") == ["k5", "k6", "k7"]
    assert report.left == 3


@pytest.mark.all_cases
def test_a_stop_holds_in_the_last_phase_too(fleet: Make, environment: Environment, engine: Engine) -> None:
    outside = """
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON a (y)")
    """
    environment.add("three", dedent(outside) + FAILS.format("'t_k4'"))
    report = stopped(fleet(), on_error="stop", jobs=1)
    assert at(engine, "three") == KEYS[:4]
    assert at(engine, "two") == KEYS[4:]  # in which the others wait for steps outside of a transaction
    assert keys_of(ledger(engine, report.run_id), "planned") == ["k5", "k6", "k7"]
    _, outcomes = get_run(fleet(), report.run_id)
    assert [(each.from_revision, each.to_revision) for each in outcomes if not each.ok] == [("one", "two")] * 4
    environment.add("three", outside, after="two")
    target, keys, _ = unfinished(fleet(), report.run_id)
    migrate(fleet(), target, tenants=keys)
    assert at(engine, "three") == KEYS


def test_a_run_with_a_relative_target_is_not_resumed(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", TWO + "\n" + FAILS.format("'t_k2'"), after="one")
    with pytest.raises(MigrationError) as caught:
        migrate(fleet(), "+1", jobs=1)
    report = caught.value.report
    again = f"'tenantkit migrate REVISION --tenants KEYS' ('tenantkit runs show {report.run_id}' has both; +1 would"
    assert f"Fix the cause, then run {again} take the others further): tenants that are done" in str(report)
    assert report.stop is None
    named = r"had the target \+1, which may mean another revision .* 'tenantkit migrate REVISION --tenants k2'"
    with pytest.raises(ConfigurationError, match=named):
        unfinished(fleet(), report.run_id)


def test_after_a_failure_of_the_shared_tables_the_same_command_continues(fleet: Make, environment: Environment) -> None:
    environment.add("s1", "pass", "raise ValueError('no')", line="shared")
    migrate(fleet())
    with pytest.raises(MigrationError, match="Fix the cause, then run the same command again: tenants"):
        downgrade_shared(fleet(), "-1")


@pytest.mark.parametrize(("verb", "command", "target"), [(migrate, "migrate", "+1"), (downgrade, "downgrade", "-1")])
def test_a_stopped_run_with_a_relative_target_advises_to_name_the_revision_and_tenants(
    fleet: Make, verb: Callable[..., MigrationReport], command: str, target: str
) -> None:
    with pytest.raises(MigrationError) as caught:
        verb(fleet(), target, waves=[50, 100], check=lambda _: False, jobs=1)
    report = caught.value.report
    assert str(report.stop).endswith(
        f"4 tenants were not begun. 'tenantkit {command} REVISION --tenants KEYS' ('tenantkit runs show {report.run_id}' "
        f"has both; {target} would take the others further) continues with those that are not done."
    )


def test_a_finished_run_has_no_tenants_to_resume(fleet: Make) -> None:
    assert unfinished(fleet(), migrate(fleet(), "+1", jobs=1).run_id) == ("+1", [], None)


def test_a_refused_tenant_counts_as_a_failure(fleet: Make, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER SCHEMA t_k7 RENAME TO away")
    report = stopped(fleet(), on_error="stop")
    assert (report.left, report.migrated) == (7, ())
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER SCHEMA away RENAME TO t_k7")
    assert at(engine, "one") == KEYS


def test_tenants_are_excluded_and_selected_by_attributes(fleet: Make, engine: Engine) -> None:
    migrate(fleet(), where={"plan": "pro"}, exclude=["k3"])
    assert at(engine, "two") == ["k1", "k5", "k7"]
    migrate(fleet(), where={"plan": "free", "seats": 2})
    assert at(engine, "two") == ["k1", "k2", "k5", "k7"]
    migrate(fleet(), tenants=["k0", "k3"], where={"plan": "free"})
    assert at(engine, "two") == ["k0", "k1", "k2", "k5", "k7"]


def test_tenants_are_migrated_in_the_given_order(fleet: Make, engine: Engine) -> None:
    watcher = Watcher(engine)
    migrate(fleet(), order="newest", progress=watcher, jobs=1)
    assert watcher.keys == KEYS[::-1]


def test_stamp_and_downgrade_go_in_waves_too(fleet: Make, engine: Engine) -> None:
    watcher = Watcher(engine)
    migrate(fleet())
    downgrade(fleet(), "-1", canary=3, check=watcher.check)
    assert watcher.checked == [(1, 2, KEYS[3:])]
    assert at(engine, "one") == KEYS
    with pytest.raises(MigrationError, match="4 tenants were not begun. The same command again continues"):
        stamp(fleet(), "base", waves=[50, 100], check=lambda _: False)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t_k3.alembic_version").scalar() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM t_k4.alembic_version").scalar() == 1


def test_the_ledger_has_the_options_of_a_run(fleet: Make, engine: Engine) -> None:
    report = migrate(fleet(), canary={"k3"}, max_failures="5%", exclude=("k1",), where={"plan": "pro"})
    with engine.connect() as connection:
        options = connection.exec_driver_sql(f"SELECT options FROM tenantkit.runs WHERE id = {report.run_id}").scalar()
    assert isinstance(options, dict)
    named = {name: options[name] for name in ("canary", "max_failures", "exclude", "where", "engine")}
    assert named == {
        "canary": ["k3"],
        "max_failures": "5%",
        "exclude": ["k1"],
        "where": {"plan": "pro"},
        "engine": "auto",
    }


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"canary": 0}, ConfigurationError),
        ({"waves": [50, 20]}, ConfigurationError),
        ({"pause": -1, "canary": 1}, ConfigurationError),
        ({"canary": ["nobody"]}, ConfigurationError),
        ({"canary": ["k0"], "exclude": ["k0"]}, ConfigurationError),
        ({"tenants": ["nobody"]}, TenantNotFoundError),
        ({"exclude": ["nobody"]}, TenantNotFoundError),
        ({"where": {"plan": "gold"}}, ConfigurationError),
        ({"on_error": "stop", "max_failures": 2}, ConfigurationError),
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_anything_is_migrated(
    fleet: Make, environment: Environment, engine: Engine, options: Any, error: type[Exception]
) -> None:
    environment.add("s1", 'op.execute("CREATE TABLE shared.new ()")', line="shared")
    with pytest.raises(error):
        migrate(fleet(), **options)
    assert at(engine, "one") == KEYS
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT to_regclass('shared.new')").scalar() is None
        assert connection.exec_driver_sql("SELECT count(*) FROM tenantkit.runs").scalar() == 0


def test_a_check_runs_also_if_an_earlier_run_migrated_the_canaries(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("three", 'op.execute("CREATE TABLE c ()")', after="two")
    first = stopped(fleet(), canary=["k0"], check=lambda _wave: False)
    waves: list[int] = []

    def check(wave: Any) -> bool:
        waves.append(wave.number)
        return False

    again = stopped(fleet(), canary=["k0"], check=check)

    assert at(engine, "three") == ["k0"]
    assert again.left == first.left
    assert waves == [0]
