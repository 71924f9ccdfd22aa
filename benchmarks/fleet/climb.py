"""All rows in one run: each migrates the whole fleet by one revision, repeatedly, in changing order."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from time import perf_counter

import psycopg

from benchmarks.fleet.application import Fleet
from benchmarks.fleet.build import settle
from benchmarks.fleet.replay import Script, replay
from benchmarks.fleet.revisions import Change
from benchmarks.fleet.rows import Kind, Row

_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_ACTIVE = "SELECT active_time FROM pg_stat_database WHERE datname = current_database()"


@dataclass
class Measured:
    """The times of one row for a tenant in each round, in seconds."""

    row: Row
    wall: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    """Processor time of this process and its children."""
    server: list[float] = field(default_factory=list)
    """The server's time in statements, of all connections together."""

    @property
    def milliseconds(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.wall) * 1e3


def climb(
    fleet: Fleet,
    rows: Sequence[Row],
    changes: Iterator[Change],
    script: Callable[[Change], Script],
    *,
    rounds: int,
    tick: Callable[[str], None],
) -> list[Measured]:
    """Return the times of each row in each round.

    The first run is not counted: it fills the caches.
    """
    first = next(changes)
    replay(fleet.dsn, script(first), fleet.schemas, connections=4)
    verify(fleet, first)
    measured = {row.name: Measured(row) for row in rows}
    for number in range(rounds):
        for row in _order(rows, number, rounds):
            tick(row.name)
            change = next(changes)
            schemas = fleet.schemas[:: round(1 / row.share)]
            settle(fleet)
            with _measuring(fleet, measured[row.name], len(schemas)):
                row.run(fleet, change, schemas)
            missed = set(fleet.schemas) - set(schemas)
            replay(fleet.dsn, script(change), sorted(missed), connections=4)
            verify(fleet, change)
    return list(measured.values())


def ratios(measured: Measured, limits: Sequence[Measured]) -> list[float]:
    """Return the time of a row in each round, relative to the limit with the same number of connections."""
    limit = next(each for each in limits if each.row.connections == measured.row.connections)
    return [ours / theirs for ours, theirs in zip(measured.wall, limit.wall, strict=True)]


def of_kind(measured: Sequence[Measured], kind: Kind) -> list[Measured]:
    """Return the rows of one kind."""
    return [each for each in measured if each.row.kind is kind]


def verify(fleet: Fleet, change: Change) -> None:
    """Raise an error unless every tenant has the whole change in the catalog, independently of the row's own report."""
    expected = {"relations": len(change.relations), "columns": len(change.columns), "keys": 1, "versions": 1}
    with psycopg.connect(fleet.dsn, autocommit=True) as connection:
        found = dict(
            connection.execute(
                "SELECT 'relations', count(*) FROM pg_class WHERE relname = ANY(%(relations)s) "
                "UNION ALL SELECT 'columns', count(*) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
                "WHERE relkind = 'r' AND attname = ANY(%(columns)s) "
                "UNION ALL SELECT 'keys', count(*) FROM pg_constraint "
                "WHERE contype = 'f' AND conname = %(id)s || '_entry_parent_id_fkey'",
                {"relations": change.relations, "columns": change.columns, "id": change.id},
            ).fetchall()
        )
        found["versions"] = 0
        for schema in fleet.schemas:
            version = connection.execute(f'SELECT version_num FROM "{schema}".alembic_version').fetchall()
            found["versions"] += version == [(change.id,)]
    wanted = {kind: count * fleet.tenants for kind, count in expected.items()}
    if found != wanted:
        raise AssertionError(f"Not all was migrated to {change.id}: {found}, not {wanted}.")


def server_seconds(fleet: Fleet) -> float:
    """Return the server's time in statements on this database, after its connections have ended."""
    with psycopg.connect(fleet.dsn, autocommit=True) as connection:
        deadline = time.monotonic() + 30
        while (connection.execute(_OTHERS).fetchone() or (0,))[0]:
            if time.monotonic() > deadline:
                raise TimeoutError("Somebody is still connected to the fleet's database.")
            time.sleep(0.05)
        row = connection.execute(_ACTIVE).fetchone()
        assert row is not None
        return float(row[0]) / 1e3


@contextmanager
def _measuring(fleet: Fleet, measured: Measured, tenants: int) -> Iterator[None]:
    server, client, start = server_seconds(fleet), _processor_seconds(), perf_counter()
    yield
    measured.wall.append((perf_counter() - start) / tenants)
    measured.client.append((_processor_seconds() - client) / tenants)
    measured.server.append((server_seconds(fleet) - server) / tenants)


def _processor_seconds() -> float:
    return sum(usage.ru_utime + usage.ru_stime for usage in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


def _order(rows: Sequence[Row], number: int, rounds: int) -> list[Row]:
    """Return the rows in the order of one round: each round begins with another one, every second round is reversed."""
    first = number * len(rows) // rounds
    turned = [*rows[first:], *rows[:first]]
    return turned[::-1] if number % 2 else turned
