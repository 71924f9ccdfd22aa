"""Sign-ups, from the creation of a tenant to its first query: by spares, scripts, Alembic, models, and raw DDL."""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from json import loads
from pathlib import Path
from queue import SimpleQueue
from threading import Barrier
from time import perf_counter
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import Progress
from sqlalchemy import URL, text

from benchmarks.fleet.application import Fleet
from benchmarks.fleet.build import create_database, settle
from benchmarks.fleet.models import declare, table_name
from benchmarks.fleet.revisions import make_environments, write_changes
from benchmarks.targets import Target, new_table
from tenantkit import Tenancy
from tenantkit.migrations.environment.alias import QUOTED_ALIAS
from tenantkit.spares import keep_spares

RAW, SCRIPT, ALEMBIC, MODELS, SPARE = "raw DDL in one text", "recorded script", "Alembic", "create_all", "spare"
MAX_SCRIPT_RATIO = 1.15
MAX_SPARE_SECONDS = 0.010

_QUERY = f"SELECT count(*) FROM {table_name(0)}"


@dataclass(frozen=True)
class Size:
    """The size of the measurements."""

    tables: int
    changes: int
    at_once: dict[int, int]
    """By the number of sign-ups at once, the number of rounds."""


FULL = Size(tables=40, changes=30, at_once={1: 20, 10: 5, 50: 2})
QUICK = Size(tables=10, changes=5, at_once={1: 3, 10: 1, 50: 1})


@dataclass
class Contender:
    """A way to sign up, and its times."""

    name: str
    sign_up: Callable[[str], object]
    opened: Callable[[int], AbstractContextManager[object]]
    """Called with the number of sign-ups of a round, during which the block is open: opens so many connections."""
    seconds: dict[int, list[list[float]]] = field(default_factory=dict[int, list[list[float]]])
    """By the number at once, the seconds of the sign-ups of each round."""

    def percentile(self, at_once: int, percent: int) -> float:
        """Return a percentile of the sign-ups in seconds."""
        found = [seconds for each in self.seconds[at_once] for seconds in each]
        return statistics.quantiles(found, n=100, method="inclusive")[percent - 1]


def measure(server: URL, size: Size, console: Console) -> list[Target]:
    """Measure all ways side by side, with 1, 10 and 50 sign-ups at once."""
    with tempfile.TemporaryDirectory(prefix="tenantkit-bench-") as folder, ExitStack() as stack:
        with console.status("Preparing sign-ups"):
            contenders = list(_contenders(server, size, Path(folder), stack))
        keys = (f"new{number:06}" for number in count())
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Sign-ups", total=len(contenders) * sum(size.at_once.values()))
            for at_once, rounds in size.at_once.items():
                for _ in range(rounds):
                    for contender in random.sample(contenders, len(contenders)):
                        with contender.opened(at_once):
                            taken = _at_once(contender.sign_up, [next(keys) for _ in range(at_once)])
                        contender.seconds.setdefault(at_once, []).append(taken)
                        progress.advance(task)
    by_name = {contender.name: contender for contender in contenders}
    _show(contenders, size, console)
    pairs = zip(by_name[SCRIPT].seconds[1], by_name[RAW].seconds[1], strict=True)
    ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
    spare = by_name[SPARE].percentile(10, 50)
    return [
        Target(f"a sign-up by script: at most {MAX_SCRIPT_RATIO} x {RAW}", f"{ratio:.2f}", ratio <= MAX_SCRIPT_RATIO),
        Target(
            f"a sign-up by spare, 10 at once: p50 under {MAX_SPARE_SECONDS * 1e3:.0f} ms",
            f"{spare * 1e3:.1f} ms",
            spare < MAX_SPARE_SECONDS,
        ),
    ]


def _contenders(server: URL, size: Size, folder: Path, stack: ExitStack) -> Generator[Contender]:
    most = max(size.at_once)
    prepared: dict[str, Fleet] = {}
    for name in ("raw", "script", "alembic", "models", "spare"):
        fleet = Fleet(create_database(server, f"signup_{name}"), folder / name, 0, size.tables)
        fleet.folder.mkdir()
        make_environments(fleet)
        write_changes(fleet, [number % (size.tables - 1) for number in range(size.changes)])
        prepared[name] = fleet

    def tenancy(name: str, *, models: bool = False) -> Tenancy:
        fleet = prepared[name]
        engine_options = {"pool_size": most, "max_overflow": 0, "pool_timeout": 600}
        options: dict[str, Any] = {"listen": False, "engine_options": engine_options}
        if models:
            made = Tenancy(fleet.url, tenant=declare("tenant", size.tables), **options)
        else:
            made = fleet.tenancy(**options)
        return stack.enter_context(closing(made))

    for name in ("raw", "script", "alembic", "spare"):
        recording = tenancy(name)
        recording.install()
        for key in ("first", "second", "third"):
            recording.create(key)
    yield _raw(prepared["raw"])
    yield _by(SCRIPT, tenancy("script"))
    with psycopg.connect(prepared["alembic"].dsn, autocommit=True) as connection:
        connection.execute("UPDATE tenantkit.scripts SET state = 'refused', reason = 'measured without'")
    yield _by(ALEMBIC, tenancy("alembic"))
    by_models = tenancy("models", models=True)
    by_models.install()
    yield _by(MODELS, by_models)
    by_spares = tenancy("spare")
    yield _by(SPARE, by_spares, lambda number: keep_spares(by_spares, number))
    for fleet in prepared.values():
        settle(fleet)


def _by(name: str, tenancy: Tenancy, prepare: Callable[[int], object] = lambda _: None) -> Contender:
    def sign_up(key: str) -> None:
        with tenancy.session(tenancy.create(key)) as session:
            session.execute(text(_QUERY))

    @contextmanager
    def opened(number: int) -> Generator[None]:
        prepare(number)
        with ExitStack() as stack:
            for _ in range(number):
                stack.enter_context(tenancy.engine.connect())
        yield
        tenancy.engine.dispose()

    return Contender(name, sign_up, opened)


def _raw(fleet: Fleet) -> Contender:
    """Return the contender that sends the statements of the recorded script, and nothing else."""
    with psycopg.connect(fleet.dsn) as connection:
        row = connection.execute("SELECT script FROM tenantkit.scripts WHERE state = 'confirmed'").fetchone()
        assert row is not None
    statements = ";\n".join(statement for _, each, _ in loads(row[0]) for statement in each)
    free: SimpleQueue[psycopg.Connection[Any]] = SimpleQueue()

    def sign_up(key: str) -> None:
        connection = free.get()
        sent = f"CREATE SCHEMA {key}; SET LOCAL search_path = {key}; {statements.replace(QUOTED_ALIAS, key)}"
        connection.execute(sent.encode())
        connection.commit()
        connection.execute(f"SET search_path = {key}; {_QUERY}".encode())
        connection.commit()
        free.put(connection)

    @contextmanager
    def opened(number: int) -> Generator[None]:
        for _ in range(number):
            free.put(psycopg.connect(fleet.dsn))
        yield
        while not free.empty():
            free.get().close()

    return Contender(RAW, sign_up, opened)


def _at_once(sign_up: Callable[[str], object], keys: list[str]) -> list[float]:
    """Sign all *keys* up at once, and return the seconds of each."""
    barrier = Barrier(len(keys))

    def timed(key: str) -> float:
        barrier.wait()
        start = perf_counter()
        sign_up(key)
        return perf_counter() - start

    with ThreadPoolExecutor(len(keys)) as pool:
        return list(pool.map(timed, keys))


def _show(contenders: list[Contender], size: Size, console: Console) -> None:
    headings = [f"{at_once} at once, {name}" for at_once in size.at_once for name in ("p50", "p99")]
    table = new_table(f"A sign-up: {size.tables} tables, {size.changes + 1} revisions", "way", *headings)
    for contender in contenders:
        times = [contender.percentile(at_once, percent) for at_once in size.at_once for percent in (50, 99)]
        table.add_row(contender.name, *(f"{seconds * 1e3:,.1f} ms" for seconds in times))
    console.print(table)
