"""A run migrates several databases at the same time, each within its server's limits."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import ConfigurationError, MigrationError, Tenancy, migrations
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.tasks.queue import interleave
from tests.migrations.environments import Environment

SLOW = """
op.execute("INSERT INTO note (id, text) VALUES (1, clock_timestamp()::text)")
op.execute("DO $$ BEGIN PERFORM pg_sleep({}); END $$")
op.execute("INSERT INTO note (id, text) VALUES (2, clock_timestamp()::text)")
"""


def _times(fleet: Tenancy) -> dict[str, tuple[datetime, datetime]]:
    found = {}
    for tenant in fleet.list():
        with fleet.session(tenant) as session:
            begin, end = session.scalars(text("SELECT text::timestamptz FROM note ORDER BY id"))
        found[tenant.key] = begin, end
    return found


@pytest.mark.all_cases
@pytest.mark.parametrize(
    ("options", "is_at_once", "seconds"),
    [({}, True, 0.5), ({"engine": "alembic"}, True, 3), ({"max_failures": 0}, False, 0.5)],
)
def test_databases_are_migrated_at_the_same_time_unless_failures_are_counted(
    fleet: Tenancy, environment: Environment, options: dict[str, Any], is_at_once: bool, seconds: float
) -> None:
    """Workers of engine="alembic" may take long to start."""
    environment.add("r3", SLOW.format(seconds))
    report = migrations.migrate(fleet, **options)
    assert len(report.migrated) == 8
    times = _times(fleet)
    overlaps = [
        (one, other)
        for one, (begin, end) in times.items()
        for other, (first, last) in times.items()
        if one[0] == "m" and other[0] == "e" and begin < last and first < end
    ]
    assert bool(overlaps) == is_at_once


@pytest.mark.all_cases
def test_a_failure_in_each_database_is_reported_by_its_tenant(fleet: Tenancy, main: Engine, eu: Engine) -> None:
    for engine, schema in ((main, "t_m2"), (eu, "t_e3")):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {schema}.note ADD COLUMN pinned boolean")
    with pytest.raises(MigrationError) as failed:
        migrations.migrate(fleet)
    report = failed.value.report
    assert (sorted(each.key for each in report.failures), len(report.migrated)) == (["e3", "m2"], 6)


def test_two_databases_share_the_connections_of_their_server(fleet: Tenancy, eu: Engine) -> None:
    """Also if their settings differ."""
    with eu.begin() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{eu.url.database}" SET timezone = "Asia/Tokyo"')
    fleet.databases.dispose()
    for options in ({"max_connections": 10}, {"max_connections": 10, "jobs": 1}):
        assert len(migrations.migrate(fleet, **options).migrated) in {8, 0}
    migrations.downgrade(fleet, "r1")
    with pytest.raises(
        ConfigurationError, match="1 job needs [45] connections, more than the 3 that it may take for each of 2"
    ):
        migrations.migrate(fleet, max_connections=6, maintenance=True)


def _outcome(key: str) -> Outcome:
    return Outcome(key=key, schema=key, from_revision=None, to_revision=None)


def test_outcomes_of_several_databases_come_in_turn_and_all_generators_are_closed() -> None:
    closed: list[str] = []

    def part(name: str, *keys: str | None, ends: BaseException | None = None) -> Generator[Outcome | None]:
        try:
            for key in keys:
                yield None if key is None else _outcome(key)
            if ends is not None:
                raise ends
        finally:
            closed.append(name)

    def keys(found: Iterator[Outcome]) -> list[str]:
        return [outcome.key for outcome in found]

    assert keys(interleave([part("a", "a1", None, "a2"), part("b", "b1"), part("c")])) == ["a1", "b1", "a2"]
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(
            outcome.key for outcome in interleave([part("d", ends=KeyboardInterrupt()), part("e", None, "e1", "e2")])
        )
    assert closed == ["c", "b", "a", "d", "e"]
    with pytest.raises(ConfigurationError):
        keys(interleave([part("f", "f1", ends=ConfigurationError("x")), part("g", "g1", None, "g2")]))
    begun = interleave([part("h", "h1"), part("i", "i1")])
    next(begun)
    begun.close()
    assert closed[5:] == ["f", "g", "h"]


def test_an_outcome_is_not_waited_for_while_another_database_is_slow() -> None:
    slow, done = Event(), Event()

    def waiting() -> Generator[Outcome | None]:
        while not done.is_set():
            yield None
        slow.set()
        yield _outcome("slow")

    def quick() -> Generator[Outcome | None]:
        yield _outcome("quick")
        done.set()

    make: Callable[[], Iterator[Outcome]] = lambda: interleave([waiting(), quick()])  # noqa: E731
    assert [outcome.key for outcome in make()] == ["quick", "slow"]
