"""The rows of the fleet's table: the ways to migrate it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.fleet.application import Fleet
from benchmarks.fleet.replay import in_schema, replay
from benchmarks.fleet.revisions import Change
from benchmarks.fleet.with_alembic import command_per_tenant, process_per_tenant, scripts_loaded_once
from tenantkit.migrations import migrate

Run: TypeAlias = "Callable[[Fleet, Change, Sequence[str]], None]"
"""Migrates these schemas of a fleet by one change."""

CONNECTIONS = (1, 2, 4, 8)


class Kind(Enum):
    """The role of a row in comparisons."""

    LIMIT = auto()
    """The limit with commits that wait for the disk, the default."""
    LIMIT_ASYNCHRONOUS = auto()
    """The limit with commits that do not wait for the disk, as in a replay."""
    TENANTKIT = auto()
    ALEMBIC = auto()
    OTHER = auto()
    """A row that is shown only."""


@dataclass(frozen=True)
class Row:
    """One way to migrate a fleet."""

    name: str
    kind: Kind
    run: Run
    connections: int = 1
    """The number of connections of the limit that it is compared with."""
    share: float = 1
    """The share of the fleet that it migrates, if the whole takes too long; the others are migrated afterwards."""


LOOP = "Alembic, command.upgrade per tenant in one process"


def rows(scripts: Mapping[str, str], *, loop: float, processes: float) -> list[Row]:
    """Return all rows; *scripts* has the SQL of each change, the others are the shares of sampled rows.

    A limit is next to the rows that are compared with it, so that the machine is in the same state.
    """
    compared: list[Row] = []
    for connections in CONNECTIONS:
        plural = "s" if connections > 1 else ""
        compared += [
            Row(f"raw SQL, {connections} connection{plural}", Kind.LIMIT, _raw(scripts, connections), connections),
            Row(
                f"raw SQL, {connections} connection{plural}, asynchronous commit",
                Kind.LIMIT_ASYNCHRONOUS,
                _raw(scripts, connections, waits=False),
                connections,
            ),
            Row(f"tenantkit, jobs={connections}", Kind.TENANTKIT, _tenantkit(jobs=connections), connections),
        ]
    return [
        *compared,
        Row("`tenantkit migrate --jobs 4`, start-up included", Kind.OTHER, _command_line(jobs=4), 4),
        Row("tenantkit, jobs=2, engine='alembic'", Kind.OTHER, _tenantkit(jobs=2, engine="alembic"), 2),
        Row("Alembic in one process, revisions loaded once", Kind.ALEMBIC, scripts_loaded_once),
        Row(LOOP, Kind.ALEMBIC, command_per_tenant, share=loop),
        Row("Alembic, a process per tenant", Kind.ALEMBIC, process_per_tenant, share=processes),
    ]


def _raw(scripts: Mapping[str, str], connections: int, *, waits: bool = True) -> Run:
    def run(fleet: Fleet, change: Change, schemas: Sequence[str]) -> None:
        replay(fleet.dsn, in_schema(scripts[change.id]), schemas, connections=connections, waits=waits)

    return run


def _tenantkit(**options: Any) -> Run:
    def run(fleet: Fleet, change: Change, _: Sequence[str]) -> None:
        with closing(fleet.tenancy()) as tenancy:
            migrate(tenancy, change.id, **options)

    return run


def _command_line(*, jobs: int) -> Run:
    def run(fleet: Fleet, change: Change, _: Sequence[str]) -> None:
        command = [*tenantkit_command(), "migrate", change.id, "--jobs", str(jobs)]
        subprocess.run(command, env=fleet.environment, check=True, capture_output=True)

    return run


def tenantkit_command() -> list[str]:
    """Return the arguments that run the command line."""
    return [str(Path(sys.executable).with_name("tenantkit"))]
