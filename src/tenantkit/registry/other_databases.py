"""What tenantkit keeps in a database without the registry: its mark, and what migrations need.

The mark is the comment on the schema ``tenantkit``: the database's name, and the registry that it belongs to. URLs that
were exchanged, or lead to the databases of another deployment, are refused by it.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from tenantkit.databases.named import comment_of, mark_of, require_own
from tenantkit.isolation.fence import FENCE
from tenantkit.registry.versions import REFUSE, wait_for_others

_FACTS = text(
    """
    SELECT (SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'tenantkit') AS mark,
        to_regclass('tenantkit.registry') IS NOT NULL AS has_registry,
        to_regproc('tenantkit.refuse') IS NOT NULL AND to_regclass('tenantkit.outcomes') IS NOT NULL
            AND to_regproc('tenantkit.fence') IS NOT NULL AS is_complete
    """
)


_LEDGER = """
CREATE TABLE IF NOT EXISTS tenantkit.outcomes (
    run_id bigint,
    tenant_id bigint,
    status text NOT NULL,
    engine text,
    attempts int NOT NULL,
    from_revision text,
    to_revision text,
    duration_ms bigint,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, tenant_id)
)
"""
"""The outcomes of runs, written in the transactions that migrate the tenants; the registry has a copy."""


def install(connection: Connection, name: str, registry: str) -> None:
    """Make all of it, in the caller's transaction, in the database *name*; do nothing if it is there.

    :raises ConfigurationError: if the database has a registry of its own, or the mark of another one.
    """
    if _is_current(connection, name, registry):
        return
    wait_for_others(connection)
    if _is_current(connection, name, registry):  # another process has made it meanwhile
        return
    connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS tenantkit")
    connection.exec_driver_sql(REFUSE)
    connection.exec_driver_sql(FENCE)
    connection.exec_driver_sql(_LEDGER)
    connection.exec_driver_sql(comment_of(mark_of(name, registry)).replace("%", "%%"))


def remove_mark(connection: Connection) -> None:
    """Remove the mark from a database that is to be copied: each copy gets its own."""
    connection.exec_driver_sql("COMMENT ON SCHEMA tenantkit IS NULL")


def _is_current(connection: Connection, name: str, registry: str) -> bool:
    facts = connection.execute(_FACTS).one()
    require_own(name, facts.mark, registry, has_registry=facts.has_registry)
    return bool(facts.is_complete and facts.mark)
