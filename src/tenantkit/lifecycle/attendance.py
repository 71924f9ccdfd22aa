"""Which tenants a process is creating in several transactions: a lock that dies with its connection."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.postgres.advisory_locks import TENANT


@contextmanager
def attending(connection: Connection, tenant_id: int) -> Generator[None]:
    """Show other processes, while a block of several transactions runs, that this one is at work on a tenant."""
    with connection.begin():
        connection.execute(text(f"SELECT pg_advisory_lock({TENANT})"), {"id": tenant_id})
    try:
        yield
    finally:
        # If the connection is lost, so is the lock.
        with suppress(SQLAlchemyError), connection.begin():
            connection.execute(text(f"SELECT pg_advisory_unlock({TENANT})"), {"id": tenant_id})


def is_unattended(connection: Connection, tenant_id: int) -> bool:
    """Return whether no other process is `attending` to a tenant, and keep it so until the transaction ends."""
    free = connection.execute(text(f"SELECT pg_try_advisory_xact_lock({TENANT})"), {"id": tenant_id})
    return bool(free.scalar_one())
