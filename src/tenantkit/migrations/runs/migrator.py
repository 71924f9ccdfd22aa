"""Migration of placements: by rehearsal and replay where that is possible, else by Alembic in processes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from pickle import PicklingError, dumps
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from tenantkit.cancellation import Cancellation
from tenantkit.databases.base import group_key, shares_transaction, split_key
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
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
from tenantkit.migrations.tasks.engines import Engines
from tenantkit.migrations.tasks.queue import Executor, interleave, run_tasks
from tenantkit.migrations.tasks.task import Retry, Task, run_task
from tenantkit.postgres.errors import CONFLICTS
from tenantkit.postgres.limits import Limits
from tenantkit.tenant import MAIN_DATABASE

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph
    from tenantkit.migrations.replay.script import Script
    from tenantkit.migrations.results.progress import StepProgress

PLACEMENTS_PER_CONNECTION = 100
"""Maximum number of placements for one connection. A backend caches every table that it uses: 84 MB after 100 tenants
of 40 tables, measured."""

RELATIONS_PER_CONNECTION = 28_000
"""Maximum number of tables and indexes for one connection, as many as those 100 tenants have. A replay that uses fewer
of them serves more placements: the first ones on a new connection are slow, and a backend that had added a few columns
for each of 500 had 9 MB."""


_TURN = 0.05
"""Seconds for which one database is waited for, while others are migrated too."""


class _Database(NamedTuple):
    """The means to migrate placements in one database, or in the databases of single tenants on one server."""

    setup: WorkerConfig
    engines: Engines
    """Engines with the application's settings, whose connections are not shared with its requests."""
    alembic: Alembic

    def for_one_thread(self, key: str) -> Engines:
        """Return engines for an executor beside others: the same, if it stays in one database."""
        return self.engines if split_key(key)[1] is None else Engines(self.setup.open)


def _unchanged(executor: Any) -> Any:
    return executor


@dataclass(slots=True)
class Migrator:
    """Migrates the placements of one run, and keeps the results of rehearsals."""

    tenancy: Deployment
    graph: RevisionGraph
    settings: Settings
    around: Callable[[Any], Any] = _unchanged
    """Wraps each executor."""
    stop: Event | None = None
    """Once it is set, no task begins. With it, no task begins after a failure until the caller has seen the outcome."""
    tell: Callable[[StepProgress], object] | None = None
    """Receives the progress of long steps."""
    cancellation: Cancellation = field(default_factory=Cancellation)
    """Ends the run: no task begins after it, and running tasks are cancelled."""
    max_jobs: Mapping[str, int] = field(default_factory=dict[str, int])
    """Maximum number of jobs at a time in each group of databases, by the free connections of its server; 1 by
    default."""
    reasons: Counter[str] = field(default_factory=Counter[str])
    """Number of placements that were not replayed, by reason."""
    _found: dict[tuple[str, Heads, str], RehearsalResult] = field(
        default_factory=dict["tuple[str, Heads, str]", RehearsalResult]
    )
    _patience: float | None = None
    _databases: dict[str, _Database] = field(default_factory=dict[str, "_Database"])

    def __post_init__(self) -> None:
        self._at(MAIN_DATABASE)  # refuses settings that cannot be sent to a process, before the run begins

    def run(self, groups: Sequence[tuple[Heads, Sequence[Task]]]) -> Generator[Outcome]:
        """Migrate *groups* of placements in one database, from and to the same revisions; yield the outcome of each.

        The databases of single tenants on one server count as one here, and below.

        Databases are migrated at the same time, except where the number of failures is limited. In each, steps outside
        of a transaction come last, one placement after another, because they wait for every transaction in it.

        :raises KeyboardInterrupt: if the run is cancelled.
        """
        by_database: dict[str, list[tuple[Heads, Sequence[Task]]]] = {}
        for heads, tasks in groups:
            by_database.setdefault(database_of(tasks), []).append((heads, tasks))
        parts = [self._run(database, its_groups) for database, its_groups in by_database.items()]
        self._patience = _TURN if len(parts) > 1 and self.stop is None else None
        try:
            if self._patience is not None:
                yield from interleave(parts)
                return
            for part in parts:
                with closing(part):
                    yield from filter(None, part)
        finally:
            for database in self._databases.values():
                database.alembic.close()

    def _at(self, key: str) -> _Database:
        """Return the means to migrate in the group of databases *key*."""
        if (found := self._databases.get(key)) is None:
            limits = self.settings.limits
            setup = set_up(self.tenancy, self.graph, limits, key, is_sent=self.settings.jobs != 0)
            engines = Engines(setup.open)
            alembic = Alembic(engines, self.graph, limits, PLACEMENTS_PER_CONNECTION, self.tell, self.cancellation)
            found = self._databases[key] = _Database(setup, engines, alembic)
        return found

    def _run(self, database: str, groups: Sequence[tuple[Heads, Sequence[Task]]]) -> Generator[Outcome | None]:
        """Migrate groups in one database; yield ``None`` while nothing happens, so that others have their turn."""
        last: list[Task] = []
        for heads, group in groups:
            if self._is_stopped:
                return
            tasks = list(group)
            kind = database, heads, tasks[0].revision
            if self.settings.jobs == 0 or tasks[0].target.column is not None:  # one placement, in a form of its own
                yield from self._migrate_in_process(tasks)
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
                yield from self._migrate_remaining(tasks, self._found[kind], last)
        if last:
            yield from self._run_tasks(last, self._workers(database, 1))

    def _migrate_in_process(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        for task in tasks:
            if not self._is_stopped:
                yield run_task(task, self._in_process(database_of(tasks)), self.cancellation)

    def _migrate_remaining(
        self, tasks: list[Task], found: RehearsalResult, last: list[Task]
    ) -> Generator[Outcome | None]:
        """Migrate the tasks after the rehearsal; tasks with steps outside of a transaction are added to *last*."""
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
            database = database_of(tasks)
            jobs = 1 if found.touches_shared else self._jobs(database, self.settings.processes)
            yield from self._run_tasks(remaining, self._workers(database, jobs))

    def _replay(
        self, tasks: list[Task], found: RehearsalResult, last: list[Task]
    ) -> Generator[Outcome | None, None, list[Task]]:
        """Send the script to each of *tasks*; return the failed ones, for Alembic to repeat with its better errors."""
        assert found.script is not None  # noqa: S101 - the caller has checked it
        script, is_last = found.script, found.autocommit is None
        by_key = {task.key: task for task in tasks}
        failed: list[Task] = []
        database = database_of(tasks)

        def replaying() -> Executor:
            replay = Replay(
                self._at(database).for_one_thread(database),
                script,
                self.settings.limits,
                max(PLACEMENTS_PER_CONNECTION, RELATIONS_PER_CONNECTION // script.relations),
                self.cancellation,
                is_last=is_last,
                locates=self.settings.engine == "replay",  # otherwise Alembic finds the revision
            )
            return self.around(replay)  # type: ignore[no-any-return]

        # With locks on shared tables, concurrent replays would wait for one another, or deadlock.
        connections = 1 if found.touches_shared else self._jobs(database, self.settings.connections)
        for outcome in self._run_tasks(tasks, [replaying] * connections, ConcurrencyLimit(connections)):
            if outcome is None:
                yield None
                continue
            task = by_key[outcome.key]
            if outcome.ok and is_last:
                yield outcome
            elif outcome.ok:
                last.append(task if task.expected is None else replace(task, expected=script.after))
            elif has_moved(outcome) and (final := self._moved_outcome(task, outcome)) is not None:
                yield final
            elif outcome.sqlstate in CONFLICTS or outcome.sqlstate is None or self.settings.engine == "replay":
                yield self._with_place(outcome, script)
            elif self.stop is not None:
                yield run_task(task, self._in_process(database), self.cancellation)
            else:
                failed.append(task)
        return failed

    def _with_place(self, outcome: Outcome, script: Script) -> Outcome:
        """Return the *outcome* of a failed replay with its revision and file; after a failed commit, all revisions."""
        first, last = script.steps[0].revision, script.steps[-1].revision
        revision = outcome.revision or (first if first == last else None)
        if revision is None:
            return replace(outcome, revision=f"{first} to {last}")
        return replace(outcome, revision=revision, file=shown(Path(self.graph.scripts.get_revision(revision).path)))

    def _moved_outcome(self, task: Task, outcome: Outcome) -> Outcome | None:
        """Return the outcome of a placement at an unexpected revision; ``None`` if it still has steps."""

        def read(connection: Connection) -> tuple[Heads, bool]:
            current = read_heads(connection, task.target.schema)
            return current, task.ledger.is_done(connection)

        engine = self._at(database_of([task])).engines.at(task.target.placement.database)
        current, is_done = begin(engine, read, self.cancellation)
        if is_done:  # the connection was lost after the commit
            return replace(outcome, to_revision=format_heads(current) or None, sqlstate=None, error=None)
        if self.graph.steps(task.command, task.revision, current):
            return None
        found = format_heads(current) or None
        return replace(outcome, from_revision=found, to_revision=found, sqlstate=None, error=None)

    def _run_tasks(
        self,
        tasks: Sequence[Task],
        executors: Sequence[Callable[[], Executor]],
        concurrency: ConcurrencyLimit | None = None,
    ) -> Generator[Outcome | None]:
        return run_tasks(tasks, executors, self.stop, concurrency, self.cancellation, patience=self._patience)

    def _jobs(self, database: str, wanted: int) -> int:
        return min(wanted, self.max_jobs.get(database, 1))

    @property
    def _is_stopped(self) -> bool:
        return self.stop is not None and self.stop.is_set()

    def _in_process(self, database: str) -> Callable[..., Outcome | Retry]:
        return self.around(self._at(database).alembic)  # type: ignore[no-any-return]

    def _workers(self, database: str, count: int) -> list[Callable[[], Executor]]:
        setup = self._at(database).setup
        return [lambda: self.around(Worker(setup, self.tell))] * count


def database_of(tasks: Sequence[Task]) -> str:
    """Return the key of the group of databases of *tasks*."""
    return group_key(tasks[0].target.placement.database)


def _refuse(task: Task, obstacle: str) -> Outcome:
    return replace(
        task.outcome(),
        error=f"It cannot be replayed: {as_clause(obstacle)}. Use engine='auto', which runs Alembic for it.",
    )


def set_up(
    tenancy: Deployment, graph: RevisionGraph, limits: Limits, database: str = MAIN_DATABASE, *, is_sent: bool
) -> WorkerConfig:
    """Return the configuration of a worker for a group of databases; if it *is_sent* to a process, in a form for that.

    :raises ConfigurationError: if it cannot be sent.
    """
    setup = WorkerConfig(
        environment=graph.environment,
        scope=graph.scope,
        naming_convention=dict(graph.naming_convention),
        url=tenancy.databases.engine(split_key(database)[0]).url,
        engine_options=dict(tenancy.engine_options),
        path=sys.path,
        limits=limits,
        placements_per_connection=PLACEMENTS_PER_CONNECTION,
        shared_schemas=frozenset(() if shares_transaction(tenancy.databases, database) else tenancy.main_schemas),
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
