"""Many tenants with databases of their own, served by few connections."""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter

import psycopg
from rich.console import Console
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.isolations.application import Base, Item, serve, statements_of
from benchmarks.isolations.build import OWNER, add_databases, database_key, make_database
from benchmarks.targets import Target, new_table
from tenantkit import Tenancy

ROWS = 100

_OPENED = "SELECT sum(sessions)::bigint FROM pg_stat_database WHERE datname LIKE 'budget_%'"
_OPEN = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{OWNER}' AND datname LIKE 'budget_%'"


@dataclass(frozen=True)
class Size:
    """The size of the measurement."""

    tenants: int
    connections: int
    threads: int
    requests: int


FULL = Size(tenants=1_000, connections=40, threads=16, requests=20_000)
QUICK = Size(tenants=8, connections=4, threads=4, requests=80)


def measure(server: URL, size: Size, console: Console) -> list[Target]:
    """Serve requests of all tenants under the budget."""
    with console.status(f"Creating {size.tenants:,} databases"):
        url = make_database(server, "budget")
        start = perf_counter()
        add_databases(url, size.tenants, ROWS)
        creation = (perf_counter() - start) / size.tenants
    table = new_table(
        f"{size.tenants:,} tenants with databases of their own (created in {creation * 1e3:,.0f} ms each), "
        f"{size.connections} connections, {size.threads} threads",
        *("tenants asked for", "requests", "refused", "p50", "p99", "new connections", "open at the end", "memory"),
    )
    failed = 0
    for kind, skew in (("all alike", 0.0), ("some more often (Zipf, 1)", 1.0)):
        served = _serve(url, size, _weights(size.tenants, skew), console)
        failed += served.refused
        table.add_row(kind, f"{size.requests:,}", str(served.refused), *served.words)
    console.print(table)
    return [
        Target(f"{size.tenants:,} tenants under a budget of {size.connections}: none refused", str(failed), not failed)
    ]


@dataclass(frozen=True)
class _Served:
    seconds: list[float]
    refused: int
    opened: int
    at_end: int
    bytes: int

    @property
    def words(self) -> Sequence[str]:
        cuts = statistics.quantiles(self.seconds, n=100)
        return (
            f"{cuts[49] * 1e3:.1f} ms",
            f"{cuts[98] * 1e3:.1f} ms",
            f"{self.opened:,}",
            str(self.at_end),
            f"{self.bytes / 1e6:+,.0f} MB",
        )


def _weights(tenants: int, skew: float) -> list[float]:
    return [1 / (1 + number) ** skew for number in range(tenants)]


def _serve(url: URL, size: Size, weights: list[float], console: Console) -> _Served:
    rng = random.Random(7)  # noqa: S311 - a choice, not a secret
    chosen = rng.choices(range(size.tenants), weights, k=size.requests)
    statements, numbers = statements_of(Item, None, rows=ROWS), count()
    with closing(
        Tenancy(
            url.set(username=OWNER), tenant=Base.metadata, listen=False, engine_budget=size.connections, cache_ttl=3600
        )
    ) as tenancy:

        def request(number: int) -> float | None:
            start = perf_counter()
            try:
                with tenancy.session(database_key(number)) as session:
                    serve(session, statements("", next(numbers)))
            except SQLAlchemyError as error:
                console.print(f"[red]{type(error).__name__}[/]: {str(error)[:200]}")
                return None
            return perf_counter() - start

        memory, opened = _resident(), _read(url, _OPENED)
        with ThreadPoolExecutor(size.threads) as threads:
            found = list(threads.map(request, chosen))
        memory, at_end = _resident() - memory, _read(url, _OPEN)
    opened = _read(url, _OPENED) - opened  # the server counts a connection when it is closed
    return _Served([each for each in found if each is not None], found.count(None), opened, at_end, memory)


def _read(url: URL, query: str) -> int:
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
