"""Indexes that ``CREATE INDEX CONCURRENTLY`` left behind when it was interrupted, or failed."""

from __future__ import annotations

from sqlalchemy import Connection, text

from tenantkit.naming import quote_identifier
from tenantkit.provisioning.locks import limit_lock_waits

# By way of the schema's tables: pg_index itself has no index that knows a schema, and has a row for each index of all
# tenants. A partitioned table's index is invalid until its partitions have theirs: it waits, and was not interrupted.
# Nor was one that somebody is building.
_INVALID = text(
    """
    SELECT relname FROM pg_depend
    JOIN pg_index ON indrelid = objid
    JOIN pg_class ON pg_class.oid = indexrelid
    WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace(quote_ident(:schema))
        AND classid = 'pg_class'::regclass AND NOT indisvalid AND relkind = 'i'
        AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE index_relid = indexrelid)
    """
)


def drop_invalid_indexes(connection: Connection, schema: str) -> None:
    """Drop what cannot be used, and would be in the way of being built again, in the caller's transaction."""
    for name in connection.execute(_INVALID, {"schema": schema}).scalars().all():
        limit_lock_waits(connection)
        connection.exec_driver_sql(f"DROP INDEX {quote_identifier(schema)}.{quote_identifier(name)}".replace("%", "%%"))
