"""The logins that sessions of row isolation may have: row security must hold for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PROBLEM = """
SELECT role.rolname,
    CASE WHEN role.rolsuper THEN 'is a superuser' WHEN role.rolbypassrls THEN 'has BYPASSRLS' ELSE 'owns the tables' END
FROM pg_catalog.pg_roles AS role
WHERE role.rolname IN (session_user, current_user) AND (role.rolsuper OR role.rolbypassrls OR ({may_own} AND EXISTS (
    SELECT FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace({schema}) AND relkind IN ('r', 'p')
    AND pg_catalog.pg_has_role(role.oid, relowner, 'MEMBER')
)))
"""


def require_row_login(connection: Connection, schema: str, *, may_own: bool) -> None:
    """Raise unless row security holds for the login of *connection*; each pooled connection is asked once.

    :param may_own: whether it may own the tables of the common *schema*, as for a seed.
    :raises ConfigurationError: if it does not hold.
    """
    key = ("tenantkit row login", schema, may_own)
    if key not in connection.info:
        connection.info[key] = _find_problem(connection, schema, may_own=may_own)
    if problem := connection.info[key]:
        role, reason = problem
        raise ConfigurationError(
            f"Row isolation does not hold for the login {role!r}, which {reason}. Sessions need a role of their own: "
            f"CREATE ROLE app LOGIN, then the URL of app for the application, and grant_to='app' where tenants are "
            "created and migrated."
        )


def _find_problem(connection: Connection, schema: str, *, may_own: bool) -> Any:
    query = _PROBLEM.format(schema=quote_literal(quote_identifier(schema)), may_own="false" if may_own else "true")
    pooled: Any = connection.connection
    was_idle = not pooled.driver_connection.in_transaction
    try:
        cursor = pooled.cursor()
        try:
            cursor.execute(query)
            return cursor.fetchone()
        finally:
            cursor.close()
            if was_idle:  # SET TRANSACTION may still follow in the session's own transaction
                pooled.rollback()
    except BaseException as error:
        # SQLAlchemy does so for its own statements: a task that was cancelled here would leave its transaction in the
        # pool, where it would take the next one for a savepoint.
        if not isinstance(error, Exception):
            connection.invalidate(error)
        raise
