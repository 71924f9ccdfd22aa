"""Outcomes that dead runs have not recorded: those of placements in other databases than the registry's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from tenantkit.databases.base import separate
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.planning.version_tables import read_placements
from tenantkit.migrations.results.heads import format_heads
from tenantkit.postgres.advisory_locks import RECORDING
from tenantkit.runs.ledger import JoinedLedger, unsettled
from tenantkit.tenant import Placement

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph

_IS_DEAD = text(f"SELECT pg_try_advisory_xact_lock_shared({RECORDING})")
_ENGINE = "unknown"
"""The engine of an outcome that was written so."""


def reconcile(tenancy: Deployment, connection: Connection, graph: RevisionGraph) -> None:
    """Have the ledger say of placements in other databases what their version tables say.

    A placement that has moved since its last run planned to migrate it was moved by that run. It is done if it is where
    the run was to take it; otherwise the part is written down that is done for good. A run that lives writes down
    itself what it does.
    """
    databases = tenancy.databases
    if not (others := separate(databases)):
        return
    runs = {row.run_id for row in unsettled(connection, others)}
    dead = {run for run in runs if connection.execute(_IS_DEAD, {"run": run}).scalar_one()}
    # Read again: a run that has ended just now has written all down by then.
    planned = {Placement(row.database, row.schema): row for row in unsettled(connection, others) if row.run_id in dead}
    for placement, heads in read_placements(databases, connection, planned).items():
        outcome, there = planned[placement], format_heads(heads)
        before = outcome.to_revision if outcome.engine is not None else outcome.from_revision
        if there == (before or ""):
            continue
        ledger = JoinedLedger(outcome.run_id, outcome.tenant_id)
        moved = {"engine": outcome.engine or _ENGINE, "from_revision": before or "", "to_revision": there}
        is_there = _resolve(graph, outcome.target) == heads
        statement = ledger.done(**moved, attempts=1) if is_there else ledger.begun(**moved)
        connection.exec_driver_sql(statement.replace("%", "%%"))


def show_recording(connection: Connection, run_id: int) -> None:
    """Show other runs that this one records its outcomes, until *connection* is closed or lost."""
    connection.exec_driver_sql("SET idle_session_timeout = 0")
    connection.execute(text(f"SELECT pg_advisory_lock({RECORDING})"), {"run": run_id})


def _resolve(graph: RevisionGraph, target: str) -> Heads | None:
    """Return the revisions that a run's target means; ``None`` if that depends on where each placement was."""
    try:
        return tuple(sorted(graph.resolve(target)))
    except ConfigurationError:
        return None
