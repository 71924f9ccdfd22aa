"""The migration of one placement: the steps for Alembic, and the rows in the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.results.heads import format_heads
from tenantkit.postgres.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alembic.runtime.migration import MigrationContext, MigrationStep

    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph
    from tenantkit.migrations.replay.recorder import Recorder
    from tenantkit.migrations.tasks.task import Task


@dataclass(slots=True)
class PlacementProgress:
    """A task, the heads of its placement, and the callbacks of `environment.run`."""

    graph: RevisionGraph
    task: Task
    recorder: Recorder | None
    kept: Heads | None = None
    """The committed heads before steps outside of a transaction, if there were such steps."""
    _seen: list[Heads] = field(default_factory=list["Heads"])

    @property
    def before(self) -> str:
        """The heads before the task; empty if they are not known yet."""
        return format_heads(self._seen[0]) if self._seen else ""

    @property
    def after(self) -> str:
        """The present heads."""
        return format_heads(self._seen[-1]) if self._seen else ""

    def run(self, connection: Connection, limits: Limits, **options: Any) -> None:
        """Run Alembic for the task; *options* are further options of `environment.run`."""
        if self.task.purge:
            options["purge"] = True  # Alembic's own
        run(
            connection,
            self.graph,
            self.task.target,
            self.steps,
            limits=limits,
            recorder=self.recorder,
            on_version_apply=self.applied,
            **options,
        )

    def steps(self, current: Heads, migration: MigrationContext) -> Iterable[MigrationStep]:  # noqa: ARG002 - the signature
        """Return the steps of a placement whose heads are *current*.

        :raises ConfigurationError: if its heads are not the expected ones, or the target cannot be reached from them.
        """
        heads = tuple(current)
        self._seen.append(heads)
        if self.task.expected is not None and set(heads) != set(self.task.expected):
            raise ConfigurationError(
                f"its revision has changed since the run was planned, to {format_heads(heads) or 'base'}. It was not "
                "touched. Run the same command again for a new plan"
            )
        steps = self.graph.steps(self.task.command, self.task.revision, heads)
        if self.recorder is None:
            return steps
        self.recorder.before = tuple(sorted(heads))
        return [self.recorder.watch(step) for step in steps]

    def applied(self, *, heads: set[str], **_: object) -> None:
        """Record the new heads."""
        self._seen.append(tuple(heads))
        if self.recorder is not None:
            self.recorder.applied(tuple(sorted(heads)))

    def before_block(self, connection: Connection) -> None:
        """Record the heads that stay committed if the next steps, outside of a transaction, fail."""
        self.kept = self._seen[-1]
        if self.before != self.after:
            begun = self.task.ledger.begun(engine="alembic", from_revision=self.before, to_revision=self.after)
            _write(connection, begun)

    def before_commit(self, connection: Connection) -> None:
        """Record that the task is done, in the same transaction."""
        if self.recorder is not None:
            self.recorder.before_commit(connection)
        done = self.task.ledger.done(
            engine="alembic", from_revision=self.before, to_revision=self.after, attempts=self.task.attempt
        )
        _write(connection, done)


def _write(connection: Connection, statement: str) -> None:
    if statement:
        connection.exec_driver_sql(statement.replace("%", "%%"))
