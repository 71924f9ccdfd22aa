"""The time of a check of a large fleet."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from sqlalchemy import URL, text

from benchmarks.fleet.application import Fleet
from benchmarks.fleet.build import build, create_database, settle
from benchmarks.fleet.models import table_name
from benchmarks.fleet.processes import Ran, run_watched
from benchmarks.fleet.revisions import make_environments
from benchmarks.fleet.rows import tenantkit_command
from benchmarks.targets import Target
from tenantkit.drift import check

MAX_SECONDS = 10


@dataclass(frozen=True)
class Size:
    """The size of the measurement."""

    tenants: int
    tables: int
    samples: int


FULL = Size(tenants=1_000, tables=40, samples=5)
QUICK = Size(tenants=10, tables=8, samples=1)


def measure(server: URL, size: Size, console: Console) -> list[Target]:
    """Create a fleet on *server*, and measure its check, including the start of the command."""
    with tempfile.TemporaryDirectory(prefix="tenantkit-drift-") as folder, console.status("") as status:
        fleet = Fleet(create_database(server, "drift"), Path(folder), size.tenants, size.tables)
        make_environments(fleet)
        status.update(f"Making {fleet.tenants:,} tenants with {fleet.tables} tables each")
        build(fleet)
        settle(fleet)
        status.update("Checking them")
        ran = [run_watched([*tenantkit_command(), "check"], fleet.environment) for _ in range(size.samples)]
        _verify(fleet)
    seconds = statistics.median(each.seconds for each in ran)
    return [
        Target(
            f"tenantkit check, {fleet.tenants:,} tenants of {fleet.tables} tables: under {MAX_SECONDS} s",
            f"{seconds:.2f} s ({_least_to_most(ran)}), {max(each.runner for each in ran) / 1e6:.0f} MB",
            seconds < MAX_SECONDS,
        )
    ]


def _least_to_most(ran: list[Ran]) -> str:
    return f"{min(each.seconds for each in ran):.2f} to {max(each.seconds for each in ran):.2f}"


def _verify(fleet: Fleet) -> None:
    """Raise AssertionError unless a check finds the difference, in the last tenant only."""
    tenancy = fleet.tenancy(listen=False)
    with tenancy.engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {fleet.schemas[-1]}.{table_name(0)} ALTER COLUMN name DROP NOT NULL"))
    [odd] = check(tenancy).odd
    tenancy.close()
    assert (list(odd.schemas), len(odd.differences)) == (fleet.keys[-1:], 1)
