"""The fence around tables that are not their tenant's any more: statements that write to them fail.

A process that has not heard that a tenant was moved would go on to write to its former tables, and these rows would be
lost. A trigger stops it, also superusers, owners and textual SQL. Reads go on. Migrations pass, so that the former
tables stay at the revision of the others. So do the actions of foreign keys, with which others change shared tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, text

from tenantkit.postgres.advisory_locks import PLACEMENT
from tenantkit.postgres.quoting import quote_identifier

MOVED = "TK010"
"""The SQLSTATE with which a statement that writes to fenced tables fails."""
TRIGGER = "tenantkit_fence"
"""The name of the trigger on each fenced table."""

# A run that migrates the schema holds the lock of its placement. The action of a foreign key is a statement that
# PostgreSQL executes for its own trigger of the other table, also if it finds no row; line 2 of the context shows it.
FENCE = f"""
    CREATE OR REPLACE FUNCTION tenantkit.fence() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        run int[] := ARRAY[{PLACEMENT.format(schema="TG_TABLE_SCHEMA::text")}];
        context text;
    BEGIN
        IF EXISTS (
            SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()
                AND classid = (run[1]::bigint & 4294967295)::oid AND objid = (run[2]::bigint & 4294967295)::oid
                AND objsubid = 2 AND mode = 'ExclusiveLock'
        ) THEN
            RETURN NULL;
        END IF;
        IF pg_catalog.pg_trigger_depth() > 1 THEN
            GET DIAGNOSTICS context = PG_CONTEXT;
            IF split_part(context, chr(10), 2) ~ '(DELETE FROM|UPDATE) (ONLY )?".*[$]1.* OPERATOR[(]' THEN
                RETURN NULL;
            END IF;
        END IF;
        RAISE EXCEPTION USING ERRCODE = '{MOVED}', MESSAGE = pg_catalog.concat(
            'the tables in the schema ', TG_TABLE_SCHEMA, ' refuse writes: their tenant has others now'
        );
    END $$
"""
"""The function of the triggers, in the schema ``tenantkit`` of each database."""

_TABLES = text(
    """
    SELECT relname::text AS name, EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgname = :trigger
    ) AS is_fenced
    FROM pg_class WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p') ORDER BY relname
    """
)
# The trigger has an argument on tables that were a tenant's for a while only, between a swap and the one back.
_FENCED = text(
    """
    SELECT nspname::text AS schema, bool_or(tgnargs = 0) AS is_former
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE tgname = :trigger GROUP BY 1
    """
)


def fenced_schemas(connection: Connection) -> Mapping[str, bool]:
    """Return the names of the schemas with fenced tables, and whether a tenant may get these tables back."""
    return {row.schema: row.is_former for row in connection.execute(_FENCED, {"trigger": TRIGGER})}


def is_former(connection: Connection, schema: str) -> bool:
    """Return whether *schema* has fenced tables that a tenant may get back."""
    return fenced_schemas(connection).get(schema, False)


def lock_modes(connection: Connection, *, fenced: str | None, opened: str | None) -> Mapping[str, str]:
    """Return the locks that `put_up` takes in the schema *fenced*, and `take_down` in *opened*, by quoted tables."""
    closed = _tables(connection, opened) if opened is not None else {}
    return {
        **dict.fromkeys(_tables(connection, fenced) if fenced is not None else (), "SHARE ROW EXCLUSIVE"),
        **{table: "ACCESS EXCLUSIVE" for table, is_fenced in closed.items() if is_fenced},
    }


def put_up(connection: Connection, schema: str, *, is_former: bool) -> None:
    """Fence those tables of a schema that are not. The caller has locked them, or they are not used.

    :param is_former: whether the tenant may get them back; if not, they were its own for a while only.
    """
    argument = "" if is_former else "'copy'"
    _execute_all(
        connection,
        (
            f"CREATE TRIGGER {TRIGGER} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION tenantkit.fence({argument})"
            for table, is_fenced in _tables(connection, schema).items()
            if not is_fenced
        ),
    )


def take_down(connection: Connection, schema: str) -> None:
    """Remove the fence of a schema, if it has one. The caller has locked the tables."""
    _execute_all(
        connection,
        (f"DROP TRIGGER {TRIGGER} ON {table}" for table, is_fenced in _tables(connection, schema).items() if is_fenced),
    )


def _tables(connection: Connection, schema: str) -> dict[str, bool]:
    """Return the quoted names of the tables in a schema, and whether each is fenced."""
    place = quote_identifier(schema)
    rows = connection.execute(_TABLES, {"schema": place, "trigger": TRIGGER})
    return {f"{place}.{quote_identifier(row.name)}": row.is_fenced for row in rows}


def _execute_all(connection: Connection, statements: Iterable[str]) -> None:
    """Execute statements in one string: requests wait meanwhile."""
    if joined := "; ".join(statements):
        _execute(connection, joined)


def _execute(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement.replace("%", "%%"))
