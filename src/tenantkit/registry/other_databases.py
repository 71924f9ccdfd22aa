"""What tenantkit keeps in a database without the registry: its mark, and what migrations need.

The mark is the comment on the schema ``tenantkit``: the database's name, and the registry that it belongs to. URLs that
were exchanged, or lead to the databases of another deployment, are refused by it.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from tenantkit.databases.named import READ_MARK, mark_of
from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_literal
from tenantkit.registry.versions import REFUSE, wait_for_others

_FACTS = text(
    f"""
    SELECT ({READ_MARK}) AS mark, to_regclass('tenantkit.registry') IS NOT NULL AS has_registry,
        to_regproc('tenantkit.refuse') IS NOT NULL AND to_regclass('tenantkit.outcomes') IS NOT NULL AS is_complete
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
    connection.exec_driver_sql(_LEDGER)
    connection.exec_driver_sql(_comment(name, registry).replace("%", "%%"))


def remove_mark(connection: Connection) -> None:
    """Remove the mark from a database that is to be copied: each copy gets its own."""
    connection.exec_driver_sql("COMMENT ON SCHEMA tenantkit IS NULL")


def _is_current(connection: Connection, name: str, registry: str) -> bool:
    facts = connection.execute(_FACTS).one()
    if facts.has_registry:
        raise ConfigurationError(
            f"The database {name!r} has a registry of its own: it is the main database of this application or of "
            "another one. Correct its URL in Tenancy({...})."
        )
    if facts.mark and facts.mark != mark_of(name, registry):
        raise ConfigurationError(
            f"The database {name!r} is marked as {facts.mark!r}, and should be {mark_of(name, registry)!r}. Correct "
            "the URLs in Tenancy({...}). If it was moved or renamed on purpose, run in it: "
            f"{_comment(name, registry)}"
        )
    return bool(facts.is_complete and facts.mark)


def _comment(name: str, registry: str) -> str:
    return f"COMMENT ON SCHEMA tenantkit IS {quote_literal(mark_of(name, registry))}"
