"""Bringing placements to a revision: by rehearsal and replay where that is possible, else by Alembic in processes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from pickle import PicklingError, dumps
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from tenantkit.cancellation import Cancellation
from tenantkit.exceptions import ConfigurationError, as_clause
from tenantkit.migrations.executors.alembic import Alembic
from tenantkit.migrations.executors.process import Worker
from tenantkit.migrations.executors.worker import WorkerConfig
from tenantkit.migrations.graph.places import shown
from tenantkit.migrations.options import Settings
from tenantkit.migrations.planning.version_tables import read_heads
from tenantkit.migrations.replay.executor import Replay, has_moved
from tenantkit.migrations.replay.rehearsal import RehearsalResult, rehearse
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.tasks.concurrency import ConcurrencyLimit
from tenantkit.migrations.tasks.connections import begin
from tenantkit.migrations.tasks.queue import Executor, run_tasks
from tenantkit.migrations.tasks.task import Retry, Task, run_task
from tenantkit.postgres.errors import CONFLICTS
from tenantkit.postgres.limits import Limits
from tenantkit.tenant import MAIN_DATABASE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph
    from tenantkit.migrations.replay.script import Script
    from tenantkit.migrations.results.progress import StepProgress

PLACEMENTS_PER_CONNECTION = 100
"""Maximum number of placements for one connection. A backend keeps what it learns of every table
that it has seen: 84 MB after 100 tenants of 40 tables, measured."""

RELATIONS_PER_CONNECTION = 28_000
"""That is as much as those 100 tenants have. A replay that uses less of each serves more of them over one connection:
the first ones on a new connection are slow, and a backend that had added a few columns for each of 500 had 9 MB."""


class _Database(NamedTuple):
    """What works in one database."""

    setup: WorkerConfig
    engine: Engine
    """With the application's settings, for connections that are not shared with its requests."""
    alembic: Alembic


def _unchanged(executor: Any) -> Any:
    return executor


@dataclass(slots=True)
class Migrator:
    """Migrates the placements of one run, and remembers what their rehearsals found."""

    tenancy: Deployment
    graph: RevisionGraph
    settings: Settings
    around: Callable[[Any], Any] = _unchanged
    """What is made of each executor before it is used."""
    stop: Event | None = None
    """If there is one, nothing is begun once it is set, and nothing between a failure and the caller's look at it."""
    tell: Callable[[StepProgress], object] | None = None
    """Is told how far long steps are."""
    cancellation: Cancellation = field(default_factory=Cancellation)
    """Ends the run: nothing is begun after it, and what has begun is cancelled."""
    room: int = 1
    """How many jobs there may be at a time, for the connections that they take."""
    reasons: Counter[str] = field(default_factory=Counter[str])
    """Why how many placements were not replayed."""
    _found: dict[tuple[str, Heads, str], RehearsalResult] = field(
        default_factory=dict["tuple[str, Heads, str]", RehearsalResult]
    )
    _databases: dict[str, _Database] = field(default_factory=dict[str, "_Database"])

    def __post_init__(self) -> None:
        self._at(MAIN_DATABASE)  # what cannot be sent to another process is refused before the run begins

    def run(self, groups: Sequence[tuple[Heads, Sequence[Task]]]) -> Generator[Outcome]:
        """Migrate *groups* of placements in one database, from and to the same revisions; yield the outcome of each.

        What has steps outside of a transaction comes last, one placement after another: such steps wait for every
        transaction in the database.

        :raises KeyboardInterrupt: if the run is cancelled.
        """
        try:
            yield from self._run(groups)
        finally:
            for database in self._databases.values():
                database.alembic.close()

    def _at(self, key: str) -> _Database:
        """Return what works in the database *key*."""
        if (found := self._databases.get(key)) is None:
            limits = self.settings.limits
            setup = set_up(self.tenancy, self.graph, limits, key, is_sent=self.settings.jobs != 0)
            engine = setup.open()
            alembic = Alembic(engine, self.graph, limits, PLACEMENTS_PER_CONNECTION, self.tell, self.cancellation)
            found = self._databases[key] = _Database(setup, engine, alembic)
        return found

    def _run(self, groups: Sequence[tuple[Heads, Sequence[Task]]]) -> Iterator[Outcome]:
        last: dict[str, list[Task]] = {}
        for heads, group in groups:
            if self._is_stopped:
                return
            tasks = list(group)
            database = database_of(tasks)
            kind = database, heads, tasks[0].revision
            if self.settings.jobs == 0:
                yield from self._here(tasks)
                continue
            if kind not in self._found:
                is_recorded = self.settings.engine != "alembic"
                for outcome, found in rehearse(
                    group, self._in_process(database), self.cancellation, record=is_recorded
                ):
                    tasks = [task for task in tasks if task.key != outcome.key]
                    if found is not None:
                        self._found[kind] = found
                    yield outcome
                    if self._is_stopped:
                        return
            if tasks:
                yield from self._rest(tasks, self._found[kind], last.setdefault(database, []))
        for database, tasks in last.items():
            yield from self._perform_all(tasks, self._workers(database, 1))

    def _here(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        for task in tasks:
            if not self._is_stopped:
                yield run_task(task, self._in_process(database_of(tasks)), self.cancellation)

    def _rest(self, tasks: list[Task], found: RehearsalResult, last: list[Task]) -> Iterator[Outcome]:
        """Migrate those that did not rehearse; what is for the last phase is added to *last*."""
        script = found.script
        if script is None and self.settings.engine == "replay" and found.autocommit is None:
            for task in tasks:
                if not self._is_stopped:
                    yield _refuse(task, found.obstacle or "")
            return
        remaining = tasks
        if script is not None and script.steps:
            remaining = yield from self._replay(tasks, found, last)
        elif script is None:
            self.reasons[found.obstacle or ""] += len(tasks)
        if found.autocommit is not None:
            last += remaining
        else:
            workers = self._workers(
                database_of(tasks), 1 if found.touches_shared else min(self.settings.processes, self.room)
            )
            yield from self._perform_all(remaining, workers)

    def _replay(
        self, tasks: list[Task], found: RehearsalResult, last: list[Task]
    ) -> Generator[Outcome, None, list[Task]]:
        """Send the script to each of *tasks*; return those that Alembic should try instead, with its better errors."""
        assert found.script is not None  # noqa: S101 - the caller looked
        script, is_last = found.script, found.autocommit is None
        by_key = {task.key: task for task in tasks}
        failed: list[Task] = []
        database = database_of(tasks)

        def replaying() -> Executor:
            replay = Replay(
                self._at(database).engine,
                script,
                self.settings.limits,
                max(PLACEMENTS_PER_CONNECTION, RELATIONS_PER_CONNECTION // script.relations),
                self.cancellation,
                is_last=is_last,
                locates=self.settings.engine == "replay",  # otherwise Alembic tells
            )
            return self.around(replay)  # type: ignore[no-any-return]

        # Locks on shared tables would have them wait for one another, or deadlock.
        connections = 1 if found.touches_shared else min(self.settings.connections, self.room)
        for outcome in self._perform_all(tasks, [replaying] * connections, ConcurrencyLimit(connections)):
            task = by_key[outcome.key]
            if outcome.ok and is_last:
                yield outcome
            elif outcome.ok:
                last.append(task if task.expected is None else replace(task, expected=script.after))
            elif has_moved(outcome) and (known := self._moved(task, outcome)) is not None:
                yield known
            elif outcome.sqlstate in CONFLICTS or outcome.sqlstate is None or self.settings.engine == "replay":
                yield self._with_place(outcome, script)
            elif self.stop is not None:
                yield run_task(task, self._in_process(database), self.cancellation)
            else:
                failed.append(task)
        return failed

    def _with_place(self, outcome: Outcome, script: Script) -> Outcome:
        """Return the *outcome* of a failed replay with its revision and file; at a commit, all revisions are named."""
        first, last = script.steps[0].revision, script.steps[-1].revision
        revision = outcome.revision or (first if first == last else None)
        if revision is None:
            return replace(outcome, revision=f"{first} to {last}")
        return replace(outcome, revision=revision, file=shown(Path(self.graph.scripts.get_revision(revision).path)))

    def _moved(self, task: Task, outcome: Outcome) -> Outcome | None:
        """Return the outcome of a placement that was somewhere else than expected; ``None`` if there is more to do."""

        def look(connection: Connection) -> tuple[Heads, bool]:
            current = read_heads(connection, task.target.schema)
            return current, task.ledger.is_done(connection)

        current, is_done = begin(self._at(task.target.placement.database).engine, look, self.cancellation)
        if is_done:  # the connection was lost after all was committed, before we were told
            return replace(outcome, to_revision=format_heads(current) or None, sqlstate=None, error=None)
        if self.graph.steps(task.command, task.revision, current):
            return None
        there = format_heads(current) or None
        return replace(outcome, from_revision=there, to_revision=there, sqlstate=None, error=None)

    def _perform_all(
        self,
        tasks: Sequence[Task],
        executors: Sequence[Callable[[], Executor]],
        concurrency: ConcurrencyLimit | None = None,
    ) -> Generator[Outcome]:
        return run_tasks(tasks, executors, self.stop, concurrency, self.cancellation)

    @property
    def _is_stopped(self) -> bool:
        self.cancellation.check()
        return self.stop is not None and self.stop.is_set()

    def _in_process(self, database: str) -> Callable[..., Outcome | Retry]:
        return self.around(self._at(database).alembic)  # type: ignore[no-any-return]

    def _workers(self, database: str, count: int) -> list[Callable[[], Executor]]:
        setup = self._at(database).setup
        return [lambda: self.around(Worker(setup, self.tell, self.cancellation))] * count


def database_of(tasks: Sequence[Task]) -> str:
    """Return the key of the database that all of *tasks* are for."""
    return tasks[0].target.placement.database


def _refuse(task: Task, obstacle: str) -> Outcome:
    return replace(
        task.outcome(),
        error=f"It cannot be replayed: {as_clause(obstacle)}. Use engine='auto', which runs Alembic for it.",
    )


def set_up(
    tenancy: Deployment, graph: RevisionGraph, limits: Limits, database: str = MAIN_DATABASE, *, is_sent: bool
) -> WorkerConfig:
    """Return what a process needs for migrating in *database*: if it *is_sent* to another one, in a form that can be.

    :raises ConfigurationError: if it cannot.
    """
    setup = WorkerConfig(
        environment=graph.environment,
        scope=graph.scope,
        naming_convention=dict(graph.naming_convention),
        url=tenancy.databases.engine(database).url,
        engine_options=dict(tenancy.engine_options),
        path=sys.path,
        limits=limits,
        placements_per_connection=PLACEMENTS_PER_CONNECTION,
    )
    try:
        if is_sent:
            dumps(setup)
    except (PicklingError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"engine_options or the metadata's naming_convention cannot be sent to worker processes "
            f"({as_clause(error)}). Use a function that can be imported, or jobs=0 to migrate in this process."
        ) from error
    return setup
