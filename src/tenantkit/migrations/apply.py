"""Applying a command to one placement: what a worker does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal, TypeAlias

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.migrations.environment import Site, run
from tenantkit.migrations.report import Outcome, join
from tenantkit.migrations.revisions import read_revisions
from tenantkit.provisioning.locks import reason, retrying, sqlstate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.runtime.migration import MigrationStep

    from tenantkit.migrations.lines import Heads, Line

Command: TypeAlias = Literal["upgrade", "downgrade", "stamp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One placement's part of a run."""

    key: str
    site: Site
    command: Command
    target: str


def plan(line: Line, command: Command, target: str, current: Heads) -> Sequence[MigrationStep]:
    """Return the steps that *command* takes from *current*, none if there is nothing to do.

    :raises ConfigurationError: if the target or a current revision is unknown.
    """
    match command:
        case "upgrade":
            return line.upgrade_steps(target, current)
        case "downgrade":
            return line.downgrade_steps(target, current)
        case "stamp":
            return [] if line.resolve(target) == tuple(sorted(current)) else line.stamp_steps(target, current)


def apply(engine: Engine, line: Line, task: Task) -> Outcome:
    """Apply *task* in a transaction of its own, again if locks stood in the way, and return what came of it."""
    start = perf_counter()
    seen: list[Heads] = []
    error: Exception | None = None
    try:
        with engine.connect() as connection:
            for attempt in retrying():
                with attempt:
                    _attempt(connection, line, task, seen)
    except Exception as caught:  # noqa: BLE001 - one tenant's failure is an outcome, whatever it was
        error = caught
    before = join(seen[0]) if seen else ""
    after = before if error is not None or not seen else join(seen[-1])
    if error is not None:
        # What came before an autocommit block is kept.
        with suppress(SQLAlchemyError), engine.connect() as connection:
            after = join(read_revisions(connection, [task.site.schema]).get(task.site.schema, ()))
    return Outcome(
        key=task.key,
        schema=task.site.schema,
        from_revision=before or None,
        to_revision=after or None,
        duration_ms=round((perf_counter() - start) * 1000),
        sqlstate=None if error is None else sqlstate(error),
        error=None if error is None else reason(error),
    )


def _attempt(connection: Connection, line: Line, task: Task, seen: list[Heads]) -> None:
    """Run the task once, noting in *seen* where the placement was and came to."""
    seen.clear()

    def steps(current: Heads, _: object) -> Sequence[MigrationStep]:
        seen.append(tuple(current))
        return plan(line, task.command, task.target, tuple(current))

    def applied(*, heads: set[str], **_: object) -> None:
        seen.append(tuple(heads))

    try:
        run(connection, line, task.site, steps, on_version_apply=applied)
    finally:
        connection.rollback()
