"""The execution of a run, wave by wave, until its end or a reason to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from tenantkit.databases.base import shares_transaction
from tenantkit.migrations.graph.revision_graph import Command
from tenantkit.migrations.planning.plan import group
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.report import Wave
from tenantkit.migrations.tasks.connections import begin
from tenantkit.migrations.tasks.task import Task
from tenantkit.runs import ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads
    from tenantkit.migrations.planning.plan import Plan, Work
    from tenantkit.migrations.planning.rollout import Rollout
    from tenantkit.migrations.results.progress import Progress
    from tenantkit.migrations.runs.migrator import Migrator

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class FleetRun:
    """Executes the plan of a run by its rollout, and records the outcomes, also in the ledger."""

    tenancy: Deployment
    command: Command
    run_id: int
    plan: Plan
    ids: Mapping[str, int]
    """The ids of the tenants to migrate, by key."""
    rollout: Rollout
    migrator: Migrator
    progress: Progress
    stopped: str | None = None
    """Why no other tenant begins; ``None`` while the run continues."""
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    _failures: int = 0

    @property
    def left(self) -> int:
        """Number of tenants without an outcome."""
        return len(self.ids) - len(self.outcomes)

    def run(self) -> None:
        """Execute the waves, with a pause and a check between them, until the end or a reason to stop.

        :raises KeyboardInterrupt: if the run is cancelled.
        """
        self.progress.started(len(self.ids))
        self._count(self.plan.refused)
        work = {each.tenant.key: each for each in self.plan.work}
        waves = self.rollout.split(list(work))
        if len(waves) == 1:  # there is no pause with a check; an earlier run may have migrated the canaries
            self._check(Wave(run_id=self.run_id, number=0, count=1, outcomes=()))
        for number, keys in enumerate(waves, 1):
            if self.stopped is not None:
                break
            before = len(self.outcomes)
            left: Sequence[str] = keys
            while left and self.stopped is None:
                with closing(self.migrator.run(self._tasks([work[key] for key in left]))) as outcomes:
                    self._count(outcomes)
                left = self._remove_lost()
            if number < len(waves) and self.stopped is None:
                done = tuple(self.outcomes[before:])
                self._end_wave(Wave(run_id=self.run_id, number=number, count=len(waves), outcomes=done))
        self._write(lambda connection: ledger.finish_run(connection, self.run_id))

    def _end_wave(self, wave: Wave) -> None:
        self.progress.wave_ended(wave)
        self.migrator.cancellation.sleep(self.rollout.pause)
        self._check(wave)

    def _check(self, wave: Wave) -> None:
        with self.migrator.cancellation.interruptible():
            answer = self.rollout.ask(wave)
        self._stop_if(answer)

    def _count(self, outcomes: Iterable[Outcome]) -> None:
        """Record outcomes as they arrive. After too many failures, no other tenant begins."""
        for outcome in outcomes:
            if not self._is_written(outcome):
                self._record(outcome)
            self.outcomes.append(outcome)
            if not outcome.ok:
                self._failures += 1
                self._stop_if(self.rollout.excess(self._failures, len(self.ids)))
            self.progress.finished(outcome)

    def _remove_lost(self) -> list[str]:
        """Wait until all outcomes are on disk; remove those that a server lost in a crash, and return their keys."""
        planned = self._write(lambda connection: ledger.settle(connection, self.run_id))
        kept: list[Outcome] = []
        lost: list[Outcome] = []
        for outcome in self.outcomes:
            is_lost = outcome.ok and outcome.has_moved and self.ids[outcome.key] in planned
            if is_lost and not self._is_written(outcome):  # only the row in the ledger is lost
                self._record(outcome)
                is_lost = False
            (lost if is_lost else kept).append(outcome)
        self.outcomes = kept
        if lost:
            self.progress.lost(lost)
        return [outcome.key for outcome in lost]

    def _is_written(self, outcome: Outcome) -> bool:
        """Return whether the placement's own transaction has recorded *outcome*."""
        databases = self.tenancy.databases
        return outcome.ok and outcome.has_moved and shares_transaction(databases, outcome.database)

    def _stop_if(self, why: str | None) -> None:
        if why is not None:
            self.stopped = why
            if self.migrator.stop is not None:
                self.migrator.stop.set()

    def _tasks(self, work: Sequence[Work]) -> list[tuple[Heads, list[Task]]]:
        databases, targets = self.tenancy.databases, self.tenancy.isolations.targets(each.tenant for each in work)

        def task(each: Work) -> Task:
            return Task(
                key=each.tenant.key,
                target=targets[each.tenant.placement],
                command=self.command,
                revision=each.target,
                purge=self.plan.purge,
                expected=each.heads if self.plan.is_exact else None,
                ledger=ledger.ledger_for(databases, each.tenant.placement.database, self.run_id, each.tenant.id),
                tenant_id=each.tenant.id,
            )

        return [(alike.heads, [task(each) for each in same]) for alike, same in group(work).items()]

    def _record(self, outcome: Outcome) -> None:
        def record(connection: Connection) -> None:
            ledger.record(
                connection,
                self.run_id,
                self.ids[outcome.key],
                status="failed" if not outcome.ok else "done" if outcome.has_moved else "unchanged",
                engine=outcome.engine,
                from_revision=outcome.from_revision,
                to_revision=outcome.to_revision,
                attempts=outcome.attempts,
                duration_ms=outcome.duration_ms,
                sqlstate=outcome.sqlstate,
                error=outcome.error,
                revision=outcome.revision,
                file=outcome.file,
                line=outcome.line,
                traceback=outcome.traceback,
            )

        self._write(record)

    def _write(self, work: Callable[[Connection], T]) -> T:
        return begin(self.tenancy.engine, work, self.migrator.cancellation)
