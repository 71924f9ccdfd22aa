"""The measurements of all isolations, and their targets."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress
from sqlalchemy import URL

from benchmarks.isolations import budget, many_rows
from benchmarks.isolations.build import APP, LOGINS, OWNER, World, add_databases, add_rows, add_schemas, make_database
from benchmarks.isolations.contenders import (
    PLAIN,
    ROLE,
    ROW,
    ROW_BY_HAND,
    ROW_CLEAN_BY_HAND,
    ROW_SETTINGS_BY_HAND,
    SCHEMA,
    SCHEMA_BY_HAND,
    Line,
    contenders,
)
from benchmarks.race import Contender, race
from benchmarks.tables import ratio_target, show
from benchmarks.targets import Target
from tests.support.pgbouncer import PGBOUNCER, driver_arguments, pgbouncer

MAX_SCHEMA_RATIO = 1.05
MAX_ROW_RATIO = 1.06
MAX_POINT_RATIO = 1.05

DRIVERS = ("sync", "psycopg", "asyncpg")
"""psycopg without asyncio, and the drivers with it."""


@dataclass(frozen=True)
class Size:
    """The size of the measurements."""

    tenants: int
    databases: int
    """Number of tenants with databases of their own, to all of which there are connections."""
    rounds: int
    warm_up: int
    block: int = 25
    rows: int = 200
    many: many_rows.Size | None = None
    budget: budget.Size | None = None


FULL = Size(tenants=1_000, databases=30, rounds=80, warm_up=4, many=many_rows.FULL, budget=budget.FULL)
QUICK = Size(tenants=10, databases=2, rounds=4, block=5, warm_up=1, many=many_rows.QUICK, budget=budget.QUICK)


def measure(server: URL, size: Size, console: Console) -> list[Target]:
    """Measure requests in each isolation, common tables with many rows, and many databases."""
    world = _make_world(server, size, console)
    targets: list[Target] = []
    for driver in DRIVERS:
        found = _race(f"{driver}: a row and a list of 100", Line(driver, world), world, size, console)
        targets.append(ratio_target(found, SCHEMA, SCHEMA_BY_HAND, f"{driver}, a row and a list", MAX_SCHEMA_RATIO))
        targets.append(ratio_target(found, ROW, ROW_BY_HAND, f"{driver}, a row and a list", MAX_ROW_RATIO))
        found = _race(f"{driver}: a row", Line(driver, world), world, size, console, lists=False)
        targets.append(ratio_target(found, ROW, ROW_SETTINGS_BY_HAND, f"{driver}, a row", MAX_POINT_RATIO))
    if PGBOUNCER is None:
        console.print("There is no PgBouncer (Debian: pgbouncer), so requests through it are not measured.")
    else:
        for driver in DRIVERS:
            with _through_pgbouncer(driver, world) as line:
                _race(f"{driver}, through PgBouncer: a row and a list of 100", line, world, size, console)
    if size.many is not None:
        targets += many_rows.measure(server, size.many, console)
    if size.budget is not None:
        targets += budget.measure(server, size.budget, console)
    return targets


def _make_world(server: URL, size: Size, console: Console) -> World:
    tenants = [f"{number:04}" for number in range(size.tenants)]
    with console.status(f"Creating {size.tenants} tenants of each isolation"):
        url = make_database(server, "isolations")
        add_schemas(url, tenants, size.rows, guard="role")
        values = add_rows(url, tenants, size.rows)
        add_databases(url, size.databases, size.rows)
        logins = make_database(server, "isolations_logins")
        add_schemas(logins, tenants[: size.databases], size.rows, **LOGINS)
    return World(url, size.rows, tenants, values, size.databases, logins)


def _race(title: str, line: Line, world: World, size: Size, console: Console, *, lists: bool = True) -> list[Contender]:
    with contenders(line, world, lists=lists) as made, Progress(console=console, transient=True) as progress:
        task = progress.add_task(title, total=len(made) * (size.rounds + size.warm_up))
        race(
            made,
            world.tenants,
            rounds=size.rounds,
            block=size.block,
            warm_up=size.warm_up,
            tick=lambda: progress.advance(task),
        )
    bases = {
        SCHEMA: SCHEMA_BY_HAND,
        ROLE: SCHEMA_BY_HAND,
        ROW_SETTINGS_BY_HAND: ROW_BY_HAND,
        ROW_CLEAN_BY_HAND: ROW_BY_HAND,
        ROW: ROW_CLEAN_BY_HAND,
    }
    show(f"{title}, {len(world.tenants):,} tenants in turn", made, console, base=PLAIN, bases=bases)
    return made


@contextmanager
def _through_pgbouncer(driver: str, world: World) -> Generator[Line]:
    """Yield the line through one PgBouncer for each login, as it logs in to the server itself."""
    with pgbouncer(world.url) as first, pgbouncer(world.login(OWNER)) as second, pgbouncer(world.login(APP)) as third:
        pooled = {world.url.username: first, OWNER: second, APP: third}
        yield Line(
            driver,
            world,
            lambda url: pooled[url.username].set(database=url.database),
            driver_arguments("psycopg" if driver == "sync" else driver),
        )
