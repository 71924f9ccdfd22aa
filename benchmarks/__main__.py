"""``python -m benchmarks``: all measurements in one run, and the targets."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress
from sqlalchemy import URL

from benchmarks import drift, imports, lookups, memory, moves, signup, transfer
from benchmarks.application import TENANT, provision
from benchmarks.fleet import report
from benchmarks.fleet.build import create_database
from benchmarks.isolations import report as isolations
from benchmarks.race import Contender, cpu_ratio, race, wall_ratio
from benchmarks.requests import (
    ASYNCPG_KEPT,
    ASYNCPG_TENANTKIT,
    KEPT,
    TENANTKIT,
    TEXT_BY_HAND,
    TEXT_QUALIFIED,
    TEXT_TENANTKIT,
    TUNED,
    async_contenders,
    sync_contenders,
    textual_contenders,
)
from benchmarks.server import running_server
from benchmarks.tables import named, ratio_text
from benchmarks.targets import Target, new_table, show_targets
from tenantkit import Tenancy

TENANTS = [f"bench{number:03}" for number in range(100)]

MAX_RATIO = 1.05
MAX_TUNED_RATIO = 1.10
MAX_LOOKUP = 2e-6
MAX_GROWTH = 2_000_000
MAX_IMPORT_RATIO = 1.2


@dataclass(frozen=True)
class Size:
    """The size of the measurements."""

    rounds: int
    block: int
    warm_up: int
    """Number of requests of each tenant before: psycopg prepares a statement at its sixth execution,
    and PostgreSQL plans it again for five further ones."""
    tenants_in_memory: int
    imports: int
    lookups: int
    fleet: report.Size
    drift: drift.Size
    isolations: isolations.Size
    transfer: transfer.Size
    moves: moves.Size
    signup: signup.Size


FULL = Size(
    rounds=100,
    block=25,
    warm_up=11,
    tenants_in_memory=5_000,
    imports=31,
    lookups=51,
    fleet=report.FULL,
    drift=drift.FULL,
    isolations=isolations.FULL,
    transfer=transfer.FULL,
    moves=moves.FULL,
    signup=signup.FULL,
)
QUICK = Size(
    rounds=4,
    block=5,
    warm_up=1,
    tenants_in_memory=100,
    imports=3,
    lookups=5,
    fleet=report.QUICK,
    drift=drift.QUICK,
    isolations=isolations.QUICK,
    transfer=transfer.QUICK,
    moves=moves.QUICK,
    signup=signup.QUICK,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a rough run of a minute, which never fails")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be repeated")
    chosen = parser.parse_args(arguments)
    # Python's default: the files of revisions are compiled once, not in every run.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    size, console = QUICK if chosen.quick else FULL, Console(width=None if sys.stdout.isatty() else 150)
    with running_server() as url:
        targets = [target for name in chosen.only or PARTS for target in PARTS[name](url, size, console)]
    missed = show_targets(console, targets)
    if chosen.quick:
        console.print("A quick run is too short to judge by. It shows that everything can be measured.")
    return 1 if missed and not chosen.quick else 0


def _measure_requests(url: URL, size: Size, console: Console) -> list[Target]:
    with console.status(f"Creating {len(TENANTS)} tenants"):
        tenancy = Tenancy(url, tenant=TENANT.metadata, listen=False)
        provision(tenancy, TENANTS)
        tenancy.close()
    targets = _measure_lookup(url, size, console)
    with sync_contenders(url, TENANTS) as contenders:
        _race("A request, sync, psycopg", contenders, size, console)
        targets.append(_compare(contenders, TENANTKIT, KEPT, "sync"))
        targets.append(_compare_tuned(contenders, TENANTKIT, KEPT, "sync"))
        _show("A request, sync, psycopg", contenders, KEPT, console)
    with async_contenders(url, TENANTS) as contenders:
        _race("A request, async, psycopg and asyncpg", contenders, size, console)
        targets.append(_compare(contenders, TENANTKIT, KEPT, "async, psycopg"))
        targets.append(_compare_tuned(contenders, TENANTKIT, KEPT, "async, psycopg"))
        targets.append(_compare(contenders, ASYNCPG_TENANTKIT, ASYNCPG_KEPT, "async, asyncpg"))
        targets.append(_compare_tuned(contenders, ASYNCPG_TENANTKIT, ASYNCPG_KEPT, "async, asyncpg"))
        _show("A request, async, psycopg and asyncpg", contenders, KEPT, console)
    with textual_contenders(url, TENANTS) as contenders:
        _race("A request in textual SQL, sync, psycopg", contenders, size, console)
        targets.append(_compare(contenders, TEXT_TENANTKIT, TEXT_BY_HAND, "textual SQL"))
        targets.append(_compare(contenders, TEXT_TENANTKIT, TEXT_QUALIFIED, "textual SQL, written-out schemas"))
        _show("A request in textual SQL, sync, psycopg", contenders, TEXT_QUALIFIED, console)
    return targets


def _measure_fleet(url: URL, size: Size, console: Console) -> list[Target]:
    return report.measure(url, size.fleet, console)


def _measure_drift(url: URL, size: Size, console: Console) -> list[Target]:
    return drift.measure(url, size.drift, console)


def _measure_isolations(url: URL, size: Size, console: Console) -> list[Target]:
    return isolations.measure(url, size.isolations, console)


def _measure_transfer(url: URL, size: Size, console: Console) -> list[Target]:
    return transfer.measure(url, size.transfer, console)


def _measure_moves(_url: URL, size: Size, console: Console) -> list[Target]:
    with running_server(wal_level="logical") as url:
        return moves.measure(url, size.moves, console)


def _measure_signup(url: URL, size: Size, console: Console) -> list[Target]:
    return signup.measure(url, size.signup, console)


def _race(title: str, contenders: list[Contender], size: Size, console: Console) -> None:
    steps = len(contenders) * (size.rounds + size.warm_up)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(title, total=steps)
        race(
            contenders,
            TENANTS,
            rounds=size.rounds,
            block=size.block,
            warm_up=size.warm_up,
            tick=lambda: progress.advance(task),
        )


def _show(title: str, contenders: list[Contender], base: str, console: Console) -> None:
    theirs = named(contenders, base)
    headings = ("contender", "median", "ratio", "client's CPU", "ratio")
    table = new_table(f"{title}: {len(TENANTS)} tenants in turn", *headings)
    for contender in contenders:
        table.add_row(
            contender.name,
            f"{contender.microseconds:,.0f} µs",
            ratio_text(wall_ratio(contender, theirs)),
            f"{contender.cpu_microseconds:,.0f} µs",
            ratio_text(cpu_ratio(contender, theirs)),
            style="bold" if contender.name in {TENANTKIT, ASYNCPG_TENANTKIT, TEXT_TENANTKIT} else None,
        )
    console.print(table)


def _compare(contenders: list[Contender], ours: str, theirs: str, kind: str) -> Target:
    ratio = wall_ratio(named(contenders, ours), named(contenders, theirs))
    return Target(f"a request, {kind}: at most {MAX_RATIO} x by hand", ratio_text(ratio), ratio.value <= MAX_RATIO)


def _compare_tuned(contenders: list[Contender], ours: str, theirs: str, kind: str) -> Target:
    ratio = wall_ratio(named(contenders, ours), named(contenders, theirs + TUNED))
    text = f"a request, {kind}: at most {MAX_TUNED_RATIO:.2f} x by hand with as many prepared statements"
    return Target(text, ratio_text(ratio), ratio.value <= MAX_TUNED_RATIO)


def _measure_import(_: URL, size: Size, console: Console) -> list[Target]:
    with console.status("Importing"):
        ours, base, ratio = imports.measure(samples=size.imports)
    table = new_table("import, in a fresh process", "module", "median CPU", "ratio", "modules")
    table.add_row(imports.BASE, f"{base.seconds * 1e3:,.0f} ms", "1", str(len(base.modules)))
    table.add_row(
        imports.OURS, f"{ours.seconds * 1e3:,.0f} ms", ratio_text(ratio), str(len(ours.modules)), style="bold"
    )
    console.print(table)
    unwanted = sorted(ours.modules & set(imports.FOREIGN))
    return [
        Target(
            f"import tenantkit: at most {MAX_IMPORT_RATIO} x sqlalchemy.orm, without a framework, Alembic, greenlet",
            ratio_text(ratio) + (f", imports {', '.join(unwanted)}" if unwanted else ""),
            ratio.value <= MAX_IMPORT_RATIO and not unwanted,
        )
    ]


def _measure_lookup(url: URL, size: Size, console: Console) -> list[Target]:
    with console.status("Looking a tenant up"):
        taken = lookups.measure(url, TENANTS[0], samples=size.lookups)
    return [
        Target(f"{call}, cached: under {MAX_LOOKUP * 1e6:.0f} µs", f"{seconds * 1e6:.2f} µs", seconds < MAX_LOOKUP)
        for call, seconds in taken.items()
    ]


def _measure_memory(url: URL, size: Size, console: Console) -> list[Target]:
    count = size.tenants_in_memory
    with console.status(f"Serving {count:,} tenants, for memory"):
        database = create_database(url, "memory")
        memory.make_tenants(database, count)
        traced, resident = memory.measure(database, count)
    return [
        Target(
            f"client memory from 1 to {count:,} tenants: less than 2 MB more",
            f"{traced / 1e6:.2f} MB allocated by Python, {resident / 1e6:.2f} MB resident",
            traced < MAX_GROWTH,
        )
    ]


PARTS: dict[str, Callable[[URL, Size, Console], list[Target]]] = {
    "import": _measure_import,
    "requests": _measure_requests,
    "memory": _measure_memory,
    "isolations": _measure_isolations,
    "drift": _measure_drift,
    "transfer": _measure_transfer,
    "moves": _measure_moves,
    "signup": _measure_signup,
    "fleet": _measure_fleet,
}
"""The parts in their order: fleets are last, because their creation keeps the disk busy for a while."""


if __name__ == "__main__":
    sys.exit(main())
