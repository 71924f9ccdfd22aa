"""The executor of rehearsals in a dry run: it migrates placements with Alembic and rolls back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alembic.runtime.migration import RevisionStep
from sqlalchemy import Connection, Engine, event, text
from typing_extensions import override

from tenantkit.cancellation import Cancellation
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.executors.placement_progress import PlacementProgress
from tenantkit.migrations.graph.revision_scripts import replays
from tenantkit.migrations.replay.recorder import Recorder
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.tasks.engines import Engines
from tenantkit.migrations.tasks.task import Retry, Task
from tenantkit.postgres.errors import is_lock_conflict
from tenantkit.postgres.limits import Limits
from tenantkit.runs.claims import claim

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator

    from alembic.runtime.migration import MigrationContext, MigrationStep

    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph

_SEQUENCES = text(
    """
    SELECT format('ALTER SEQUENCE %I.%I INCREMENT BY %s', nspname, relname, seqincrement)
    FROM pg_sequence
    JOIN pg_class ON pg_class.oid = seqrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = ANY(:schemas) AND pg_has_role(relowner, 'USAGE')
    """
)


class OutsideTransactionError(Exception):
    """A revision is about to work outside of a transaction, or has ``replay = False``."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Executes tasks as `Alembic` does, and rolls them back."""

    engines: Engines
    graph: RevisionGraph
    limits: Limits
    schemas: Collection[str] = ()
    """Other schemas in which a revision may change objects."""
    cancellation: Cancellation = field(default_factory=Cancellation)
    prepare: Callable[[Connection], None] = lambda _: None
    """Called first in the same transaction."""
    recorders: dict[str, Recorder] = field(default_factory=dict[str, Recorder])
    """The recorder of each placement, by key."""

    def __call__(self, task: Task, recorder: Recorder | None = None) -> Outcome | Retry:
        """Execute *task* and roll it back, or return a `Retry` after a lock conflict."""
        if recorder is not None:
            self.recorders[task.key] = recorder
        progress = TrialProgress(self.graph, task, recorder)
        reached = ""
        error: Exception | None = None
        try:
            with rolled_back(self.engines.at(task.target.placement.database)) as connection:
                if not claim(connection, task.target.schema):
                    return Retry.claimed(task, "a run is migrating it. Try again when that has ended")
                self.limits.apply(connection)
                keep_sequences(connection, [task.target.schema, *self.schemas])
                self.prepare(connection)
                progress.run(connection, self.limits)
        except OutsideTransactionError as stop:
            reached = str(stop)
        except Exception as caught:  # noqa: BLE001 - one tenant's failure is an outcome, whatever it was
            self.cancellation.check()  # cleanup may have replaced the interruption
            error = caught
            if is_lock_conflict(caught):
                return Retry(task.outcome(error=caught))
        after = progress.before if error is not None else reached or progress.after
        return task.outcome(progress.before, after, engine="alembic", error=error)


@contextmanager
def rolled_back(engine: Engine) -> Generator[Connection]:
    """Yield a connection that refuses to commit and rolls back at the end."""
    with engine.connect() as connection:
        event.listen(connection, "commit", _refuse_commit)
        try:
            connection.begin()
            yield connection
        finally:
            event.remove(connection, "commit", _refuse_commit)
            connection.rollback()


def _refuse_commit(connection: Connection) -> None:
    # SQLAlchemy takes the transaction for ended, also if this raises.
    connection.connection.rollback()
    raise ConfigurationError("A commit was attempted in a transaction that is to be rolled back. It was prevented.")


def keep_sequences(connection: Connection, schemas: Collection[str]) -> None:
    """Let a rollback also restore the sequences of *schemas*.

    Usually it does not: a transaction does not cover sequences. An altered sequence, even without a change, gets a new
    file that belongs to the transaction, and other sessions that need a number wait for its end.
    """
    statements = connection.execute(_SEQUENCES, {"schemas": list(schemas)}).scalars().all()
    if statements:
        connection.exec_driver_sql("; ".join(statements).replace("%", "%%"))


class TrialProgress(PlacementProgress):
    """The callbacks of `environment.run` for a task of a trial: no step leaves the transaction."""

    @override
    def steps(self, current: Heads, migration: MigrationContext) -> Iterator[MigrationStep]:
        """Yield the steps.

        :raises OutsideTransactionError: with the revision, at the first one that would end the transaction.
        """
        for step in super().steps(current, migration):
            if isinstance(step, RevisionStep) and not replays(step.revision):
                if self.recorder is not None:
                    self.recorder.autocommit = self.recorder.autocommit or name_of(step)
                raise OutsideTransactionError(name_of(step))

            def autocommit_block(step: MigrationStep = step) -> None:
                raise OutsideTransactionError(name_of(step))

            migration.autocommit_block = autocommit_block  # type: ignore[method-assign,assignment]
            yield step


def name_of(step: MigrationStep) -> str:
    """Return the revision that a step applies or reverts; empty for a stamp."""
    return step.revision.revision if isinstance(step, RevisionStep) else ""
