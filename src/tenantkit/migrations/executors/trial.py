"""Migrating one placement with Alembic, to see what happens, in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alembic.runtime.migration import RevisionStep
from sqlalchemy import Connection, Engine, event, text

from tenantkit.cancellation import Cancellation
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.graph.places import place_of
from tenantkit.migrations.graph.revision_scripts import replays
from tenantkit.migrations.replay.recorder import Recorder
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.tasks.task import Retry, Task
from tenantkit.postgres.errors import is_lock_conflict, reason, sqlstate
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
    """A revision would do something outside of a transaction, or says so by ``replay = False``. It has not begun to."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Does tasks as `Alembic` does, and leaves no trace of them in the database."""

    engine: Engine
    graph: RevisionGraph
    limits: Limits
    schemas: Collection[str] = ()
    """Where else than in its own schema a revision may change something."""
    cancellation: Cancellation = field(default_factory=Cancellation)
    prepare: Callable[[Connection], None] = lambda _: None
    """What is to be done first, in the same transaction."""
    recorders: dict[str, Recorder] = field(default_factory=dict[str, Recorder])
    """What recorded each placement, by its key."""

    def __call__(self, task: Task, recorder: Recorder | None = None) -> Outcome | Retry:
        """Do *task*, unless others are in the way, and take it back."""
        if recorder is not None:
            self.recorders[task.key] = recorder
        seen: list[Heads] = []
        reached: str | None = None
        error: Exception | None = None
        try:
            with rolled_back(self.engine) as connection:
                if not claim(connection, task.site.schema):
                    return Retry("a run is migrating it. Try again when that has ended", busy=True)
                self.limits.apply(connection)
                keep_sequences(connection, [task.site.schema, *self.schemas])
                self.prepare(connection)
                attempt(connection, self.graph, task, seen, limits=self.limits, recorder=recorder)
        except OutsideTransactionError as stop:
            reached = str(stop)
        except Exception as caught:  # noqa: BLE001 - one tenant's failure is an outcome, whatever it was
            self.cancellation.check()  # what cleans up may have replaced the interruption
            error = caught
            if is_lock_conflict(caught):
                return Retry(reason(caught), sqlstate=sqlstate(caught), place=place_of(caught))
        before = format_heads(seen[0]) if seen else ""
        after = before if error is not None or not seen else reached or format_heads(seen[-1])
        return task.outcome(before, after, engine="alembic", error=error)


@contextmanager
def rolled_back(engine: Engine) -> Generator[Connection]:
    """Yield a connection of which nothing is kept: it refuses to commit."""
    with engine.connect() as connection:
        event.listen(connection, "commit", _refuse_commit)
        try:
            connection.begin()
            yield connection
        finally:
            event.remove(connection, "commit", _refuse_commit)
            connection.rollback()


def _refuse_commit(connection: Connection) -> None:
    # SQLAlchemy takes the transaction for ended, whatever is raised here.
    connection.connection.rollback()
    raise ConfigurationError("What was to be rolled back was about to be committed. Nothing was.")


def keep_sequences(connection: Connection, schemas: Collection[str]) -> None:
    """Have the numbers that are drawn from now on given back when the transaction is rolled back.

    Usually they are not: a sequence is the one thing that a transaction does not cover. Altered, even to what it is, it
    gets a new file that belongs to the transaction, and whoever else wants a number waits for its end.
    """
    statements = connection.execute(_SEQUENCES, {"schemas": list(schemas)}).scalars().all()
    if statements:
        connection.exec_driver_sql("; ".join(statements).replace("%", "%%"))


def attempt(
    connection: Connection,
    graph: RevisionGraph,
    task: Task,
    seen: list[Heads],
    *,
    limits: Limits,
    recorder: Recorder | None = None,
) -> None:
    """Run Alembic in the caller's transaction, noting in *seen* where the placement was and came to.

    :raises OutsideTransactionError: with the revision, at the first step that would end the transaction.
    """

    def steps(current: Heads, migration: MigrationContext) -> Iterator[MigrationStep]:
        seen.append(tuple(current))
        if recorder is not None:
            recorder.before = tuple(sorted(current))
        for step in graph.steps(task.command, task.target, tuple(current)):
            if isinstance(step, RevisionStep) and not replays(step.revision):
                if recorder is not None:
                    recorder.autocommit = recorder.autocommit or name_of(step)
                raise OutsideTransactionError(name_of(step))

            def autocommit_block(step: MigrationStep = step) -> None:
                raise OutsideTransactionError(name_of(step))

            migration.autocommit_block = autocommit_block  # type: ignore[method-assign,assignment]
            yield step if recorder is None else recorder.watch(step)

    def applied(*, heads: set[str], **_: object) -> None:
        seen.append(tuple(heads))
        if recorder is not None:
            recorder.applied(tuple(sorted(heads)))

    run(connection, graph, task.site, steps, limits=limits, recorder=recorder, on_version_apply=applied)


def name_of(step: MigrationStep) -> str:
    """Return the revision that a step applies or takes back; nothing if it is a stamp."""
    return step.revision.revision if isinstance(step, RevisionStep) else ""
