"""The SQL that a migration would send, found by rehearsals that are rolled back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.schema import CreateSchema

from tenantkit.cancellation import Cancellation
from tenantkit.databases.base import shares_transaction
from tenantkit.migrations.environment.targets import shared_target
from tenantkit.migrations.executors.trial import Trial, TrialProgress
from tenantkit.migrations.graph.revision_graph import Command
from tenantkit.migrations.options import Settings
from tenantkit.migrations.replay.rehearsal import RehearsalResult, rehearse
from tenantkit.migrations.results.planned import PlannedGroup, Rehearsal
from tenantkit.migrations.runs.migrator import set_up
from tenantkit.migrations.runs.shared import SHARED
from tenantkit.migrations.tasks.connections import raise_when_cancelled
from tenantkit.migrations.tasks.engines import Engines
from tenantkit.migrations.tasks.task import Task, run_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tenantkit.deployment import Deployment
    from tenantkit.isolation.target import MigrationTarget
    from tenantkit.migrations.graph.revision_graph import RevisionGraph
    from tenantkit.migrations.replay.recorder import Recorder
    from tenantkit.migrations.replay.script import Script
    from tenantkit.migrations.results.outcome import Outcome

_EPILOGUE = "-- Here the run writes into its ledger that this is done.\n"
_COMMON = "its tables are common to several tenants, so no other placement is sent the same statements"
_SHARED_FIRST = "the shared tables have to be migrated first, with 'tenantkit migrate --shared-only'"


@dataclass(slots=True)
class ScriptPreview:
    """Rehearses the steps of placements, and rolls everything back."""

    tenancy: Deployment
    shared_graph: RevisionGraph
    graph: RevisionGraph
    command: Command
    settings: Settings
    cancellation: Cancellation
    shared: PlannedGroup | None
    """The steps of the shared tables, which come first."""
    _engines: dict[str, Engines] = field(default_factory=dict[str, Engines])
    """By group of databases, engines with connections of their own: a revision may leave settings in its session."""

    def close(self) -> None:
        """Close the connections."""
        for engines in self._engines.values():
            engines.dispose()

    def rehearse_shared(self) -> PlannedGroup | None:
        """Return the shared tables' plan with its rehearsal; call this before `rehearse`."""
        if self.shared is not None:
            task = self._shared_task
            trial = self._trial(task.target.placement.database, self.shared_graph, self._create_shared_schemas)
            self.shared = replace(self.shared, rehearsal=self._rehearse([task], trial))
        return self.shared

    def rehearse(
        self, group: PlannedGroup, database: str, revision: str, targets: Mapping[str, MigrationTarget]
    ) -> PlannedGroup:
        """Return *group*, whose placements are in one group of databases, with its rehearsal.

        :param database: the key of that group.
        :param targets: by the keys of tenants.
        """
        if (shared := self.shared and self.shared.rehearsal) and (shared.failures or shared.autocommit):
            return replace(group, rehearsal=Rehearsal(script=None, obstacle=_SHARED_FIRST))
        tasks = [self._task(each.key, targets[each.key], revision) for each in group.placements]
        has_shared = shares_transaction(self.tenancy.databases, database)
        trial = self._trial(database, self.graph, self._migrate_shared if has_shared else lambda _: None)
        return replace(group, rehearsal=self._rehearse(tasks, trial))

    def _task(self, key: str, target: MigrationTarget, revision: str) -> Task:
        return Task(key=key, target=target, command=self.command, revision=revision)

    @property
    def _shared_task(self) -> Task:
        # With a phase, not to the newest revision.
        there = self.shared.to_revision if self.shared is not None else None
        revision = "heads" if there is None or "," in there else there
        return Task(key=SHARED, target=shared_target(self.tenancy), command="migrate", revision=revision)

    def _trial(self, database: str, graph: RevisionGraph, prepare: Callable[[Connection], None]) -> Trial:
        if (engines := self._engines.get(database)) is None:
            engines = Engines(set_up(self.tenancy, self.graph, self.settings.limits, database, is_sent=False).open)
            self._engines[database] = engines
            engines.prepare(partial(raise_when_cancelled, cancellation=self.cancellation))
        others = [*self.tenancy.shared_schemas, *self.tenancy.extra_schemas]
        return Trial(engines, graph, self.settings.limits, others, self.cancellation, prepare)

    def _create_shared_schemas(self, connection: Connection) -> None:
        for schema in self.tenancy.shared_schemas:
            connection.execute(CreateSchema(schema, if_not_exists=True))

    def _migrate_shared(self, connection: Connection) -> None:
        if self.shared is not None:
            self._create_shared_schemas(connection)
            TrialProgress(self.shared_graph, self._shared_task, None).run(connection, self.settings.limits)

    def _rehearse(self, tasks: Sequence[Task], trial: Trial) -> Rehearsal:
        """Rehearse as a run does, in the first placements at one revision."""
        if tasks[0].target.column is not None:
            outcomes = [run_task(task, trial, self.cancellation) for task in tasks]
            return Rehearsal(script=None, obstacle=_COMMON, failures=tuple(each for each in outcomes if not each.ok))
        found: RehearsalResult | None = None
        failures: list[Outcome] = []
        recorder: Recorder | None = None
        for outcome, rehearsed in rehearse(tasks, trial, self.cancellation, record=self.settings.engine != "alembic"):
            found = rehearsed or found
            if outcome.ok:
                recorder = trial.recorders[outcome.key]
            else:
                failures.append(outcome)
        if found is None and recorder is not None:
            found = _alone(recorder)
        if found is None:
            return Rehearsal(script=None, failures=tuple(failures))
        return Rehearsal(
            script=self._render(found.script, tasks[0].target),
            obstacle=found.obstacle,
            autocommit=found.autocommit,
            failures=tuple(failures),
        )

    def _render(self, script: Script | None, target: MigrationTarget) -> str | None:
        if script is None or not script.steps:
            return None
        template = script.template(target.others, self.settings.limits)
        return f"{template.render(target.schema, _EPILOGUE)};\n"


def _alone(recorder: Recorder) -> RehearsalResult:
    """Return the result of the rehearsal in a single placement, without another to compare it with."""
    script = recorder.script() if recorder.obstacle is None else None
    return RehearsalResult(script, recorder.obstacle, autocommit=recorder.autocommit, touches_shared=False)
