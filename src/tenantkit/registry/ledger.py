"""What was migrated, kept in the database: functions of a connection, in the caller's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from tenantkit.registry.tables import outcomes, runs, tenants


def start_run(connection: Connection, *, command: str, target: str) -> int:
    """Write down that a run begins, and return its number."""
    number: int = connection.execute(
        insert(runs).values(command=command, target=target).returning(runs.c.id)
    ).scalar_one()
    return number


def finish_run(connection: Connection, run_id: int) -> None:
    """Write down that a run has come to its end."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(finished_at=func.now()))


def record(connection: Connection, run_id: int, key: str, **values: Any) -> None:
    """Write down what came of one tenant in a run; nothing if the tenant has been dropped meanwhile."""
    tenant_id = connection.execute(select(tenants.c.id).where(tenants.c.key == key).with_for_update(read=True)).scalar()
    if tenant_id is not None:
        connection.execute(insert(outcomes).values(run_id=run_id, tenant_id=tenant_id, **values))


def last_failures(connection: Connection) -> dict[str, str]:
    """Return the error of each tenant whose last outcome, in any run, is a failure, by key."""
    last = (
        select(outcomes.c.tenant_id, outcomes.c.status, outcomes.c.error)
        .ext(distinct_on(outcomes.c.tenant_id))
        .order_by(outcomes.c.tenant_id, outcomes.c.run_id.desc())
        .subquery()
    )
    query = (
        select(tenants.c.key, last.c.error)
        .join(last, last.c.tenant_id == tenants.c.id)
        .where(last.c.status == "failed")
    )
    return {row.key: row.error for row in connection.execute(query)}
