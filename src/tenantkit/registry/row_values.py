"""The tenants' values of a column that the application declares."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.isolations import Isolations
from tenantkit.registry.tables import tenants
from tenantkit.tenant import Tenant

_INDEX = "tenants_row_value_key"


def assign(connection: Connection, isolations: Isolations, tenant: Tenant, value: str) -> None:
    """Set the value of a tenant that was created without one.

    :raises ConfigurationError: if its rows have another value already, or another tenant has this one.
    """
    if tenant.row_value == value:
        return
    if tenant.row_value is not None or any(target.column for target in isolations.targets([tenant]).values()):
        raise ConfigurationError(
            f"The row_value of tenant {tenant.key!r} is {str(tenant.row_value or tenant.id)!r}, which its rows have. "
            "It cannot be changed."
        )
    with refusing_values_of_others():
        connection.execute(update(tenants).where(tenants.c.id == tenant.id).values(row_value=value))


@contextmanager
def refusing_values_of_others() -> Generator[None]:
    """Raise `ConfigurationError` from a block that gives a tenant the value of another one."""
    try:
        yield
    except IntegrityError as error:
        if _INDEX not in str(error.orig):
            raise
        raise ConfigurationError(
            "Another tenant has this row_value, or has it as its id. Each tenant needs one of its own: give another."
        ) from error
