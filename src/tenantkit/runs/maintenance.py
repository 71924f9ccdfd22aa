"""Tenants that a run keeps in maintenance while it migrates them: functions of a connection.

The tenant's row has the run's number, and an advisory lock shows that the run lives. So maintenance that remains from
a killed run can be distinguished from an operator's, which only the operator ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from sqlalchemy import Connection, TextClause, text

from tenantkit.databases.base import Databases, by_database, joined, joint
from tenantkit.databases.reach import in_each
from tenantkit.postgres.advisory_locks import PLACEMENT, RUN
from tenantkit.runs.claims import claim, share
from tenantkit.tenant import Placement

_ENTER = text(
    """
    UPDATE tenantkit.tenants SET status = 'maintenance', claim = :mark, updated_at = now()
    WHERE id = :id AND (status = 'active' OR (status = 'maintenance' AND claim = :mark))
    """
)
_HELD = text(
    "SELECT EXISTS (SELECT FROM tenantkit.tenants WHERE id = :id AND status = 'maintenance' AND claim ^@ 'run ')"
)
# After the loss of a connection or a process, its last statement may still be running, and hold the claim. Then the
# tenant stays in maintenance, and is released later. Backups share the claim, so this does, too.
_FREE = f"pg_try_advisory_xact_lock_shared({PLACEMENT.format(schema='schema')})"
_LEAVE = text(
    f"""
    UPDATE tenantkit.tenants SET status = 'active', claim = NULL, updated_at = now()
    WHERE id = :id AND status = 'maintenance' AND claim = :mark AND id <> ALL(:busy) AND {_FREE}
    """  # noqa: S608 - ours
)
_RUNS = text(
    """
    SELECT DISTINCT CAST(substr(claim, 5) AS bigint) FROM tenantkit.tenants
    WHERE status = 'maintenance' AND claim ~ '^run [0-9]+$' ORDER BY 1
    """
)
_ABANDONED = f"""
    WITH marked AS MATERIALIZED (
        SELECT id, key, schema FROM tenantkit.tenants
        WHERE status = 'maintenance' AND claim = ANY(:marks) AND id <> ALL(:busy)
    ), abandoned AS MATERIALIZED (
        SELECT id, key FROM marked WHERE {_FREE}
    )
"""  # noqa: S608 - ours
_ELSEWHERE = text(
    """
    SELECT id, database, schema FROM tenantkit.tenants
    WHERE status = 'maintenance' AND claim = ANY(:marks) AND database <> ALL(:databases)
        AND (CAST(:id AS bigint) IS NULL OR id = :id)
    """
)
_KEYS = text(f"{_ABANDONED} SELECT key FROM abandoned ORDER BY key")  # noqa: S608 - ours
_MARKED = text("SELECT key FROM tenantkit.tenants WHERE status = 'maintenance' AND claim = ANY(:marks) ORDER BY key")
_RELEASE = text(
    f"""
    {_ABANDONED} UPDATE tenantkit.tenants SET status = 'active', claim = NULL, updated_at = now()
    FROM abandoned WHERE tenants.id = abandoned.id AND tenants.status = 'maintenance' AND tenants.claim = ANY(:marks)
    RETURNING tenants.key
    """  # noqa: S608 - ours
)


class Entry(Enum):
    """The answer to a request for a tenant's maintenance."""

    ENTERED = auto()
    LEFT_ALONE = auto()
    """The tenant is not active."""
    BUSY = auto()
    """Another run keeps it in maintenance."""
    CLAIMED = auto()
    """A run or a backup works on its placement, so maintenance would only be waiting."""


def show_alive(connection: Connection, run_id: int) -> None:
    """Show other processes that a run lives for as long as *connection* does."""
    connection.execute(text(f"SELECT pg_advisory_lock({RUN})"), {"run": run_id})


def show_dead(connection: Connection, run_id: int) -> None:
    """Release the lock of `show_alive`."""
    connection.execute(text(f"SELECT pg_advisory_unlock({RUN})"), {"run": run_id})


def enter(connection: Connection, tenant_id: int, run_id: int) -> Entry:
    """Put a tenant into maintenance for a run, if it is active."""
    if connection.execute(_ENTER, {"id": tenant_id, "mark": _mark(run_id)}).rowcount:
        return Entry.ENTERED
    return Entry.BUSY if connection.execute(_HELD, {"id": tenant_id}).scalar_one() else Entry.LEFT_ALONE


def enter_if_free(
    connection: Connection, tenant_id: int, run_id: int, *, placement: Placement, databases: Databases
) -> Entry:
    """Put a tenant into maintenance for a run, if it is active and nothing else works on its *placement*."""
    with joined(databases, placement.database, connection) as there:
        if claim(there, placement.schema):
            return enter(connection, tenant_id, run_id)
    return Entry.BUSY if connection.execute(_HELD, {"id": tenant_id}).scalar_one() else Entry.CLAIMED


def leave(connection: Connection, tenant_id: int, run_id: int, *, databases: Databases) -> None:
    """Make a tenant active again, unless it is still being migrated or its status was changed meanwhile."""
    mark = _mark(run_id)
    busy = _busy_elsewhere(connection, databases, [mark], tenant_id)
    connection.execute(_LEAVE, {"id": tenant_id, "mark": mark, "busy": busy})


def abandoned(connection: Connection, databases: Databases) -> list[str]:
    """Return the keys of tenants that dead runs have left in maintenance."""
    marks = _dead(connection)
    return list(_execute(connection, databases, _KEYS, marks)) if marks else []


def held(connection: Connection) -> list[str]:
    """Return the keys of tenants that dead runs have left in maintenance, also if a statement is still running."""
    marks = _dead(connection)
    return list(connection.execute(_MARKED, {"marks": marks}).scalars()) if marks else []


def release(connection: Connection, databases: Databases) -> list[str]:
    """Make tenants active again that dead runs have left in maintenance; return their keys."""
    marks = _dead(connection)
    return sorted(_execute(connection, databases, _RELEASE, marks)) if marks else []


def _execute(connection: Connection, databases: Databases, statement: TextClause, marks: list[str]) -> Iterable[str]:
    busy = _busy_elsewhere(connection, databases, marks)
    return connection.execute(statement, {"marks": marks, "busy": busy}).scalars()


def _busy_elsewhere(
    connection: Connection, databases: Databases, marks: list[str], tenant_id: int | None = None
) -> list[int]:
    """Return the ids of tenants with these *marks* whose placements are claimed in other databases, or not reached.

    To look, each claim is shared for a moment; so that of one tenant is asked for without those of the others.
    """
    here = joint(databases)
    marked = connection.execute(_ELSEWHERE, {"marks": marks, "databases": here, "id": tenant_id}).all()
    ids = {Placement(row.database, row.schema): row.id for row in marked}
    placements = by_database(databases, ids)

    def find_busy(database: str, there: Connection) -> list[int]:
        with there.begin():
            return [ids[each] for each in placements[database] if not share(there, each.schema)]

    reached = in_each(databases, connection, placements, find_busy)
    unknown = [ids[each] for database in reached.unreachable for each in placements[database]]
    return [*unknown, *(each for found in reached.results.values() for each in found)]


def _dead(connection: Connection) -> list[str]:
    """Return the marks of dead runs; a run's number is never used again."""
    alive = text(f"SELECT NOT pg_try_advisory_xact_lock({RUN})")
    runs = connection.execute(_RUNS).scalars().all()
    return [_mark(run) for run in runs if not connection.execute(alive, {"run": run}).scalar_one()]


def _mark(run_id: int) -> str:
    return f"run {run_id}"
