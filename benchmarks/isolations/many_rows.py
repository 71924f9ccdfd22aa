"""Common tables with many rows: reads by tenantkit and by a filter that is written by hand, and their plans."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from rich.console import Console
from sqlalchemy import URL, create_engine

from benchmarks.isolations.application import ROWS
from benchmarks.isolations.build import APP, World, add_rows, make_database
from benchmarks.isolations.contenders import ROW, ROW_BY_HAND, Line, in_rows
from benchmarks.race import Contender, race
from benchmarks.tables import ratio_target, show
from benchmarks.targets import Target

MAX_RATIO = 1.2

_READS = {"a row": "id = 7", "a list of 100": "list_id = 7"}


@dataclass(frozen=True)
class Size:
    """The size of the measurement."""

    tenants: int
    rows: int
    rounds: int
    block: int = 50


FULL = Size(tenants=10_000, rows=1_000, rounds=100)
QUICK = Size(tenants=20, rows=1_000, rounds=4)


def measure(server: URL, size: Size, console: Console) -> list[Target]:
    """Measure reads of a row, and of a list with it, of tenants at random; print the plans."""
    tenants = [f"{number:05}" for number in range(size.tenants)]
    random.Random(7).shuffle(tenants)  # noqa: S311 - an order, not a secret
    with console.status(f"Creating {size.tenants:,} tenants with {size.tenants * size.rows:,} rows"):
        url = make_database(server, "many_rows")
        world = World(url, size.rows, tenants, add_rows(url, tenants, size.rows))
    targets: list[Target] = []
    for kind, lists in (("a row", False), ("a row and a list of 100", True)):
        with _contenders(world, lists=lists) as made:
            race(made, tenants, rounds=size.rounds, block=size.block, warm_up=0, tick=lambda: None)
        title = f"{kind}, {size.tenants * size.rows:,} rows in common tables"
        show(title, made, console, base=ROW_BY_HAND, bases={})
        targets.append(ratio_target(made, ROW, ROW_BY_HAND, title, MAX_RATIO))
    _show_plans(world, console)
    return targets


@contextmanager
def _contenders(world: World, *, lists: bool) -> Generator[list[Contender]]:
    with closing(Line("sync", world)) as line:
        yield [line.contender(way) for way in in_rows(line, world, lists=lists)]


def _show_plans(world: World, console: Console) -> None:
    value = world.values[world.tenants[0]]
    for kind, condition in _READS.items():
        explained = f"EXPLAIN SELECT * FROM {ROWS}.item WHERE tenant_id = {value} AND {condition}"
        for name, login in (("by hand", None), ("under the policy", APP)):
            engine = create_engine(world.url if login is None else world.login(login))
            with engine.begin() as connection:
                connection.exec_driver_sql(f"SET LOCAL tenantkit.tenant TO {value}")
                lines = connection.exec_driver_sql(explained).scalars().all()
            engine.dispose()
            console.print(f"Plan of {kind}, {name}:", *lines, sep="\n  ", highlight=False)
