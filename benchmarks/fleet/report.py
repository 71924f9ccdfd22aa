"""The fleet's tables and targets."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from os import cpu_count, getloadavg
from pathlib import Path

from rich.console import Console
from sqlalchemy import URL

from benchmarks.fleet import at_head, climb, under_load
from benchmarks.fleet.application import Fleet
from benchmarks.fleet.build import build, create_database
from benchmarks.fleet.climb import Measured, of_kind, ratios
from benchmarks.fleet.replay import in_schema
from benchmarks.fleet.revisions import make_environments, render, write_changes
from benchmarks.fleet.rows import LOOP, Kind, rows
from benchmarks.targets import Target, new_table

MAX_OF_LIMIT = 1.25
MIN_BEFORE_ALEMBIC = 4
MIN_BEFORE_LOOP = 10
MAX_AT_HEAD = 1.0

_UNDER_LOAD = ("raw SQL, 4 connections", "tenantkit, jobs=2", "tenantkit, jobs=4")


@dataclass(frozen=True)
class Size:
    """The size of the measurements."""

    tenants: int
    tables: int
    rounds: int
    loop: float
    """The share of tenants for ``command.upgrade``."""
    processes: float
    """The share of tenants with a process each."""
    at_head: int
    """Number of tenants of three tables each."""
    samples: int
    rate: float
    """Number of requests per second."""
    idle: float
    """Seconds of requests before each migration under load."""
    rounds_under_load: int


FULL = Size(
    tenants=500,
    tables=40,
    rounds=5,
    loop=0.1,
    processes=0.01,
    at_head=5_000,
    samples=5,
    rate=100,
    idle=3,
    rounds_under_load=4,
)
QUICK = Size(
    tenants=20, tables=8, rounds=1, loop=0.2, processes=0.1, at_head=60, samples=1, rate=50, idle=1, rounds_under_load=1
)


def measure(server: URL, size: Size, console: Console) -> list[Target]:
    """Create both fleets on *server*, measure them, and print the results."""
    console.print(
        f"Fleets: other work keeps {getloadavg()[1]:.1f} of {cpu_count()} processors busy, which weighs here."
    )
    with tempfile.TemporaryDirectory(prefix="tenantkit-fleet-") as folder, console.status("") as status:
        targets = _measure_rows(server, Path(folder) / "fleet", size, console, status.update)
        targets += _measure_at_head(server, Path(folder) / "large", size, console, status.update)
    return targets


def _measure_rows(server: URL, folder: Path, size: Size, console: Console, tick: Callable[[str], None]) -> list[Target]:
    fleet = Fleet(create_database(server, "fleet"), folder, size.tenants, size.tables)
    make_environments(fleet)
    tick(f"Making {fleet.tenants} tenants with {fleet.tables} tables each")
    build(fleet)
    scripts: dict[str, str] = {}
    contenders = rows(scripts, loop=size.loop, processes=size.processes)
    under = [row for row in contenders if row.name in _UNDER_LOAD]
    # All at once, so that the time of reading the revisions does not grow from row to row.
    altered = [number % (fleet.tables // 2) * 2 for number in range(1 + size.rounds * len(contenders))]
    changes = write_changes(fleet, [*altered, *[under_load.TABLE] * size.rounds_under_load * len(under)])
    scripts.update(render(fleet, changes))
    remaining = iter(changes)
    measured = climb.climb(
        fleet, contenders, remaining, lambda change: in_schema(scripts[change.id]), rounds=size.rounds, tick=tick
    )
    title = f"One revision for {size.tenants} tenants of {size.tables} tables: three columns, a table, two indexes"
    _show_rows(title, measured, console)
    phases = under_load.measure(
        fleet, under, remaining, rate=size.rate, idle=size.idle, rounds=size.rounds_under_load, tick=tick
    )
    _show_phases(phases, size, console)
    return [*_compare(measured), _load_target(phases)]


def _show_rows(title: str, measured: list[Measured], console: Console) -> None:
    headings = ("ms per tenant", "least to most", "x the limit", "x asynchronous", "client's CPU", "server's time")
    table = new_table(title, "migrated by", *headings)
    limits, asynchronous = of_kind(measured, Kind.LIMIT), of_kind(measured, Kind.LIMIT_ASYNCHRONOUS)
    for each in measured:
        table.add_row(
            each.row.name,
            f"{each.milliseconds:.1f}",
            f"{min(each.wall) * 1e3:.1f} to {max(each.wall) * 1e3:.1f}",
            f"{statistics.median(ratios(each, limits)):.2f}",
            f"{statistics.median(ratios(each, asynchronous)):.2f}",
            f"{statistics.median(each.client) * 1e3:.1f}",
            f"{statistics.median(each.server) * 1e3:.1f}",
            style="bold" if each.row.kind is Kind.TENANTKIT else None,
        )
    console.print(table)


def _compare(measured: list[Measured]) -> list[Target]:
    limits, ours = of_kind(measured, Kind.LIMIT), of_kind(measured, Kind.TENANTKIT)
    of_limit = [statistics.median(ratios(each, limits)) for each in ours]
    asynchronous = of_kind(measured, Kind.LIMIT_ASYNCHRONOUS)
    to_asynchronous = " / ".join(f"{statistics.median(ratios(each, asynchronous)):.2f}" for each in ours)
    best = min(ours, key=lambda each: each.milliseconds)
    alembic = min(of_kind(measured, Kind.ALEMBIC), key=lambda each: each.milliseconds)
    loop = next(each for each in measured if each.row.name == LOOP)
    before_alembic, before_loop = (each.milliseconds / best.milliseconds for each in (alembic, loop))
    at = ", ".join(str(each.row.connections) for each in ours)
    return [
        Target(
            f"migrating a fleet over {at} connections: at most {MAX_OF_LIMIT} x what the database needs",
            " / ".join(f"{ratio:.2f}" for ratio in of_limit) + f"; with asynchronous commit {to_asynchronous}",
            max(of_limit) <= MAX_OF_LIMIT,
        ),
        Target(
            f"likewise, with the best number of them: {MIN_BEFORE_ALEMBIC} x faster than Alembic's best row",
            f"{before_alembic:.1f} x ({best.row.name}; {alembic.row.name})",
            before_alembic >= MIN_BEFORE_ALEMBIC,
        ),
        Target(
            f"likewise: {MIN_BEFORE_LOOP} x faster than command.upgrade in a loop",
            f"{before_loop:.1f} x",
            before_loop >= MIN_BEFORE_LOOP,
        ),
    ]


def _show_phases(phases: list[under_load.Phase], size: Size, console: Console) -> None:
    headings = ("ms per tenant", "tenants failed", "requests", "failed", "p50", "p99", "longest")
    table = new_table(
        f"Requests to all tenants, {size.rate:.0f} a second, while they are migrated by", "migrated by", *headings
    )
    for phase in phases:
        table.add_row(
            phase.name,
            "" if phase.name == under_load.NO_MIGRATION else f"{phase.seconds / size.tenants * 1e3:.1f}",
            "" if phase.name == under_load.NO_MIGRATION else str(phase.failed_tenants),
            str(len(phase.requests)),
            str(len(phase.errors)),
            *(f"{phase.percentile(percent) * 1e3:.1f} ms" for percent in (50, 99, 100)),
        )
    console.print(table)
    for error in sorted({error for phase in phases for error in phase.errors})[:5]:
        console.print(f"failed: {error}", style="red", soft_wrap=True, markup=False)


def _load_target(phases: list[under_load.Phase]) -> Target:
    requests, tenants = sum(len(phase.errors) for phase in phases), sum(phase.failed_tenants for phase in phases)
    return Target(
        "migrating a fleet under load: no request and no tenant fails",
        f"{requests} of {sum(len(phase.requests) for phase in phases)} requests, {tenants} tenants",
        not requests and not tenants,
    )


def _measure_at_head(
    server: URL, folder: Path, size: Size, console: Console, tick: Callable[[str], None]
) -> list[Target]:
    fleet = Fleet(create_database(server, "large"), folder, size.at_head, 3)
    make_environments(fleet)
    tick(f"Making {fleet.tenants:,} tenants with three tables each")
    build(fleet)
    tick("Commands over a fleet that is at head")
    commands = at_head.measure(fleet, samples=size.samples)
    headings = ("seconds", "database", "memory", "workers", "their memory")
    table = new_table(
        f"{fleet.tenants:,} tenants of three tables, at head, and then one revision behind", "command", *headings
    )
    for command in commands:
        workers = command.workers
        table.add_row(
            f"tenantkit {command.name}",
            f"{command.seconds:.2f}",
            f"{command.database_seconds:.2f}",
            f"{command.runner / 1e6:.0f} MB",
            str(len(workers)),
            f"{max(workers) / 1e6:.0f} MB each, at most" if workers else "",
        )
    console.print(table)
    return [
        Target(
            f"tenantkit {command.name}, {fleet.tenants:,} tenants at head: under {MAX_AT_HEAD:.0f} s of the database",
            f"{command.database_seconds:.2f} s, of {command.seconds:.2f} s in all",
            command.database_seconds < MAX_AT_HEAD,
        )
        for command in commands[:2]
    ]
