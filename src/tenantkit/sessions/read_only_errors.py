"""Errors of sessions that write for a tenant that is read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.drivers import framed
from tenantkit.exceptions import TenantReadOnlyError
from tenantkit.isolation.binding import BINDING
from tenantkit.postgres.errors import sqlstate

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

_READ_ONLY = "25006"
"""read_only_sql_transaction (PostgreSQL, appendix A)."""


def explain_read_only(context: ExceptionContext) -> None:
    """Raise an error of tenantkit's own if a statement failed because it writes and its tenant is read-only.

    :raises TenantReadOnlyError: if so.
    """
    statement, error = context.execution_context, context.original_exception
    if statement is None or sqlstate(error) != _READ_ONLY or BINDING not in statement.execution_options:
        return
    frame = framed(statement.root_connection).frame
    if frame is not None and (tenant := frame.read_only) is not None:
        raise TenantReadOnlyError(tenant.key, tenant.status, message=tenant.message, until=tenant.until) from error
