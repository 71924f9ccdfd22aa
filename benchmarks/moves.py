"""The move of a tenant to another database while it is written to."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from time import perf_counter, sleep
from typing import Any

import psycopg
from rich.console import Console
from sqlalchemy import URL, insert, select

from benchmarks.fleet.build import create_database, fill
from benchmarks.fleet.models import declare, table_name
from benchmarks.targets import Target, new_table
from tenantkit import Tenancy, TenantMovedError, transfer

MAX_GAP = 0.25
"""Seconds without a write that has succeeded."""
WRITES = 200
"""Number of writes in a second."""
KEY = "moved"
PAUSE = 2.0
"""Seconds of writes before, between and after the moves."""
_WAYS: dict[str, dict[str, Any]] = {"there": {"database": "eu"}, "back": {"back": True}}


@dataclass(frozen=True)
class Size:
    """The size of the measurement."""

    tables: int
    rows: int
    """Number of rows of each table."""


FULL = Size(tables=40, rows=25_000)
QUICK = Size(tables=8, rows=1_000)


def measure(server: URL, size: Size, console: Console) -> list[Target]:
    """Move a tenant there and back, and measure."""
    urls = {
        name: create_database(server, f"move_{name}").render_as_string(hide_password=False) for name in ("main", "eu")
    }
    moved: dict[str, tuple[transfer.Move, float, float]] = {}
    with closing(_tenancy(urls, size.tables)) as tenancy:
        with console.status("Making and moving a tenant"):
            tenancy.install()
            megabytes = _fill(urls["main"], tenancy.create(KEY).schema, size)
            with _writing(urls, size.tables) as writer:
                quiet = perf_counter(), perf_counter() + PAUSE
                for name, options in _WAYS.items():
                    sleep(PAUSE)
                    start = perf_counter()
                    move = transfer.move(tenancy, KEY, **options)
                    moved[name] = move, start, perf_counter()
                sleep(PAUSE)
                writer.send(None)
                written: list[tuple[int, float]] = writer.recv()
        table = declare("tenant", size.tables).tables[f"tenant.{table_name(0)}"]
        with tenancy.session(KEY) as session:
            names = {*session.scalars(select(table.c.name).where(table.c.name.startswith("written ")))}
    gaps = {name: _longest(written, start, end + PAUSE) for name, (_, start, end) in moved.items()}
    title = f"A tenant of {megabytes:.0f} MB is moved, with {WRITES} writes a second"
    shown = new_table(title, "", "seconds", "writes refused for", "longest gap between writes")
    shown.add_row("before", "", "", f"{_longest(written, *quiet) * 1000:.0f} ms")
    for name, (move, start, end) in moved.items():
        refused = f"{(move.stopped or 0) * 1000:.0f} ms"
        shown.add_row(name, f"{end - start:.1f}", refused, f"{gaps[name] * 1000:.0f} ms")
    console.print(shown)
    longest, lost = max(gaps.values()), len({f"written {number}" for number, _ in written} - names)
    return [
        Target(
            f"move: at most {MAX_GAP * 1000:.0f} ms without a write", f"{longest * 1000:.0f} ms", longest <= MAX_GAP
        ),
        Target("move there and back: no write is lost", f"{lost} of {len(written):,}", not lost),
    ]


def _longest(written: list[tuple[int, float]], start: float, end: float) -> float:
    """Return the longest time between two writes, of which one is between *start* and *end*."""
    times = [at for _, at in written]
    return max(after - before for before, after in pairwise(times) if after >= start and before <= end)


def _tenancy(urls: dict[str, str], tables: int) -> Tenancy:
    return Tenancy(dict(urls), tenant=declare("tenant", tables), listen=True)


def _fill(url: str, schema: str, size: Size) -> float:
    """Fill the tables, and return their size in megabytes."""
    dsn = url.replace("+psycopg", "")
    fill(dsn, schema, size.tables, size.rows)
    query = "SELECT sum(pg_table_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = %s::regnamespace"
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query, [schema]).fetchone()
    return float(row[0] if row else 0) / 1e6


@contextmanager
def _writing(urls: dict[str, str], tables: int) -> Generator[Connection]:
    """Write in another process, until a message comes; it answers with the numbers and times of the writes."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_write, args=(theirs, urls, tables), daemon=True)
    process.start()
    try:
        ours.recv()
        yield ours
        process.join(10)
    finally:
        process.kill()


def _write(pipe: Connection, urls: dict[str, str], tables: int) -> None:
    written: list[tuple[int, float]] = []
    table = declare("tenant", tables).tables[f"tenant.{table_name(0)}"]
    with closing(_tenancy(urls, tables)) as tenancy:
        start, number = perf_counter(), 0
        while not pipe.poll():
            number += 1
            while True:
                try:
                    with tenancy.session(KEY) as session:
                        session.execute(insert(table).values(name=f"written {number}"))
                        session.commit()
                except TenantMovedError:
                    continue
                break
            written.append((number, perf_counter()))
            if number == 1:
                pipe.send("writing")
                start = perf_counter()
            sleep(max(0.0, start + number / WRITES - perf_counter()))
        pipe.send(written)
