"""All rows in one run: each migrates the whole fleet one revision further, again and again, in changing order."""

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
    """What one row took for a tenant in each round, in seconds."""

    row: Row
    wall: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    """Processor time of this process and those that it started."""
    server: list[float] = field(default_factory=list)
    """Time that the server spent in statements, of all connections together."""

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
    """Return what each row took in each round.

    A run that counts for nothing comes first: it warms the caches up.
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
    """Return how long a row took in each round, with the limit over as many connections as 1."""
    limit = next(each for each in limits if each.row.connections == measured.row.connections)
    return [ours / theirs for ours, theirs in zip(measured.wall, limit.wall, strict=True)]


def of_kind(measured: Sequence[Measured], kind: Kind) -> list[Measured]:
    """Return the rows of one kind."""
    return [each for each in measured if each.row.kind is kind]


def verify(fleet: Fleet, change: Change) -> None:
    """Raise unless the catalog says that every tenant has the whole change: who says so himself proves nothing."""
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
    """Return how long the server has been in statements on this database; waits until those who used it are gone."""
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
    """Return the rows in the order of one round: each time another one begins, and every second time backwards."""
    first = number * len(rows) // rounds
    turned = [*rows[first:], *rows[:first]]
    return turned[::-1] if number % 2 else turned
