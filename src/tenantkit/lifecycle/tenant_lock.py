"""The lock of a tenant that is created in several transactions. It ends with its connection."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress

from sqlalchemy import Boolean, ColumnElement, Connection, literal_column, text
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.postgres.advisory_locks import TENANT


@contextmanager
def tenant_lock(connection: Connection, tenant_id: int) -> Generator[None]:
    """Hold the lock of a tenant for the duration of a block, which may have several transactions."""
    try:
        with connection.begin():
            connection.execute(text(f"SELECT pg_advisory_lock({TENANT})"), {"id": tenant_id})
        yield
    finally:
        # If the connection is lost, so is the lock.
        with suppress(SQLAlchemyError), connection.begin():
            connection.execute(text(f"SELECT pg_advisory_unlock({TENANT})"), {"id": tenant_id})


LOCKED: ColumnElement[bool] = literal_column(f"pg_try_advisory_xact_lock({TENANT.replace(':id', 'id')})", Boolean)
"""In a query of tenants: takes the lock until the transaction ends, and tells whether it was free."""


def try_tenant_lock(connection: Connection, tenant_id: int) -> bool:
    """Take the lock of a tenant until the transaction ends; return whether it was free."""
    locked = connection.execute(text(f"SELECT pg_try_advisory_xact_lock({TENANT})"), {"id": tenant_id})
    return bool(locked.scalar_one())
