"""The databases of tenants in the server's catalog: made, recognized as ours, and removed.

The functions need a connection to another database of the server; those that change something, one outside of
transactions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tenantkit.postgres.errors import sqlstate
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.tenant import Tenant

_COMMENT = text("SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = :name")
# A creation that was interrupted may have left a database without a comment, whose name tells what it was to be.
_ORPHANS = text(
    """
    SELECT datname, tenant_id FROM pg_database CROSS JOIN LATERAL (
        SELECT coalesce(
            substring(
                shobj_description(oid, 'pg_database') FROM '^tenantkit tenant ([0-9]+) of registry ' || :registry || '$'
            ),
            substring(datname FROM '^tenantkit_' || :registry || '_([0-9]+)$')
        )::bigint AS tenant_id
    ) AS marked
    WHERE tenant_id IS NOT NULL AND tenant_id <> ALL(CAST(:known AS bigint[])) ORDER BY datname
    """
)
_LOGIN = text(
    """
    SELECT current_user AS name, rolcreatedb OR rolsuper AS creates,
        pg_has_role('pg_signal_backend', 'USAGE') OR NOT EXISTS (
            SELECT FROM pg_roles AS other WHERE rolname = ANY(:roles) AND NOT pg_has_role(other.oid, 'USAGE')
        ) AS ends
    FROM pg_roles WHERE rolname = current_user
    """
)

_END = text(
    """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity JOIN pg_roles ON pg_roles.oid = usesysid
    WHERE datname = :name AND NOT rolsuper
    """
)
_INSUFFICIENT_PRIVILEGE = "42501"


def mark_of(tenant: Tenant) -> str:
    """Return the comment that the database of *tenant* carries."""
    return f"tenantkit tenant {tenant.id} of registry {tenant.registry}"


def read_comment(connection: Connection, name: str) -> str | None:
    """Return the comment on a database, an empty string without one, ``None`` without a database."""
    return connection.execute(_COMMENT, {"name": name}).scalar_one_or_none()


def set_comment(connection: Connection, name: str, tenant: Tenant) -> None:
    """Mark a database as that of *tenant*."""
    execute(connection, f"COMMENT ON DATABASE {quote_identifier(name)} IS {quote_literal(mark_of(tenant))}")


def unfinished_name(tenant: Tenant) -> str:
    """Return the name that the database of *tenant* has until it has the tenant's comment."""
    return f"tenantkit_{tenant.registry}_{tenant.id}"


def orphans(connection: Connection, registry: str, known: Collection[int]) -> list[str]:
    """Return the names of databases for tenants of *registry* that are not *known*, by their ids."""
    return list(connection.execute(_ORPHANS, {"registry": registry, "known": [*known]}).scalars())


def login_problem(connection: Connection, roles: Collection[str]) -> str | None:
    """Return why the login of *connection* cannot create databases, or drop them while *roles* are connected."""
    login = connection.execute(_LOGIN, {"roles": [*roles]}).one()
    name = quote_identifier(login.name)
    if not login.creates:
        return f"the login {login.name!r} may not create databases: ALTER ROLE {name} CREATEDB"
    if not login.ends:
        return (
            f"the login {login.name!r} may not end the connections of {', '.join(roles)}, so it could not drop the "
            f"database later: GRANT pg_signal_backend TO {name}"
        )
    return None


def create(connection: Connection, name: str, tenant: Tenant, template: str | None, roles: Iterable[str]) -> None:
    """Make the database *name* for *tenant*, empty or a copy of *template*; only *roles* and its owner may connect.

    It gets its name last, with the comment on it: a database of that name without the comment is somebody else's.
    """
    unfinished = unfinished_name(tenant)
    drop(connection, unfinished)
    made = quote_identifier(unfinished)
    copied = "" if template is None else f" TEMPLATE {quote_identifier(template)} STRATEGY wal_log"
    execute(connection, f"CREATE DATABASE {made}{copied}")
    set_comment(connection, unfinished, tenant)
    execute(connection, f"REVOKE CONNECT, TEMPORARY ON DATABASE {made} FROM PUBLIC")
    for role in roles:
        execute(connection, f"GRANT CONNECT, TEMPORARY ON DATABASE {made} TO {quote_identifier(role)}")
    execute(connection, f"ALTER DATABASE {made} RENAME TO {quote_identifier(name)}")


def drop(connection: Connection, name: str) -> None:
    """End the connections to a database, and remove it, if it is there.

    Only a superuser may end those of superusers, to whom an autovacuum belongs, too. For them, PostgreSQL waits five
    seconds, and tells an autovacuum to end.
    """
    statement = f"DROP DATABASE IF EXISTS {quote_identifier(name)}"
    try:
        execute(connection, f"{statement} WITH (FORCE)")
    except DBAPIError as error:
        if sqlstate(error) != _INSUFFICIENT_PRIVILEGE:
            raise
        connection.execute(_END, {"name": name})
        execute(connection, statement)


def execute(connection: Connection, statement: str) -> None:
    """Execute a statement without parameters."""
    connection.exec_driver_sql(statement.replace("%", "%%"))
