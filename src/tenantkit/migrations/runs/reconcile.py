"""Outcomes that dead runs did not record, of placements in databases other than the registry's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from tenantkit.databases.base import separate
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.planning.version_tables import read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.postgres.advisory_locks import RECORDING
from tenantkit.runs.ledger import RECONCILED, JoinedLedger, unsettled
from tenantkit.tenant import Placement

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph

_IS_DEAD = text(f"SELECT pg_try_advisory_xact_lock_shared({RECORDING})")


def reconcile(tenancy: Deployment, connection: Connection, graph: RevisionGraph) -> None:
    """Update the ledger by the version tables of placements in other databases.

    A placement whose revision has changed since its last run planned to migrate it was migrated by that run. It is done
    if it is at the run's target; otherwise the part that is committed is recorded. A live run records its own outcomes.
    """
    databases = tenancy.databases
    if not (others := separate(databases)):
        return
    runs = {row.run_id for row in unsettled(connection, others)}
    dead = {run for run in runs if connection.execute(_IS_DEAD, {"run": run}).scalar_one()}
    if not dead:
        return
    # Read again: a run that has ended just now has written all down by then.
    planned = {Placement(row.database, row.schema): row for row in unsettled(connection, others) if row.run_id in dead}
    for placement, heads in read_placements(databases, connection, planned).items():
        outcome, there = planned[placement], format_heads(heads)
        before = outcome.to_revision if outcome.engine is not None else outcome.from_revision
        if there == (before or ""):
            continue
        ledger = JoinedLedger(outcome.run_id, outcome.tenant_id)
        moved = {"engine": outcome.engine or RECONCILED, "from_revision": before or "", "to_revision": there}
        is_there = _resolve(graph, outcome.target) == heads
        statement = ledger.done(**moved, attempts=1) if is_there else ledger.begun(**moved)
        connection.exec_driver_sql(statement.replace("%", "%%"))


def show_recording(connection: Connection, run_id: int) -> None:
    """Show other runs that this one records its outcomes, until *connection* is closed or lost.

    After a loss, another run may reconcile outcomes that this one has yet to record. They are true, and this one's own
    replace them.
    """
    connection.exec_driver_sql("SET idle_session_timeout = 0")
    connection.execute(text(f"SELECT pg_advisory_lock({RECORDING})"), {"run": run_id})


def _resolve(graph: RevisionGraph, target: str) -> Heads | None:
    """Return the heads of a run's target; ``None`` if they depend on the revision of each placement."""
    try:
        return tuple(sorted(graph.resolve(target)))
    except ConfigurationError:
        return None
