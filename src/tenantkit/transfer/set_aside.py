"""What is taken off new tables while rows are loaded, and put back afterwards, as the catalog has it.

So an ordinary owner can load rows in any order, and no trigger changes them. PostgreSQL lets only superusers switch all
of this off at once (``session_replication_role``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection, text

from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.transfer import catalog

_CONSTRAINTS = text(
    """
    SELECT source.oid::regclass::text AS "table", conname::text AS name, pg_get_constraintdef(con.oid) AS definition,
        obj_description(con.oid, 'pg_constraint') AS comment,
        contype = 'f' AND target.relnamespace <> source.relnamespace AS leads_out,
        source.relkind = 'p' AND current_setting('server_version_num')::int < 180000 AS is_checked
    FROM pg_constraint AS con
    JOIN pg_class AS source ON source.oid = conrelid
    LEFT JOIN pg_class AS target ON target.oid = confrelid
    WHERE source.relnamespace = to_regnamespace(:schema) AND conparentid = 0 AND (
        contype = 'f'
        OR contype = 'c' AND coninhcount = 0 AND EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_constraint'::regclass AND objid = con.oid
                AND refclassid = 'pg_proc'::regclass
        )
    )
    ORDER BY source.relname, conname
    """
)
_DEFERRED = text(
    """
    SELECT quote_ident(nspname) || '.' || quote_ident(conname) AS name
    FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
    WHERE connamespace = to_regnamespace(:schema) AND conrelid <> 0 AND conparentid = 0 AND condeferred ORDER BY 1
    """
)
_TRIGGERS = text(
    """
    SELECT pg_class.oid::regclass::text AS "table", tgname::text AS name, tgenabled::text AS enabled
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p') AND NOT tgisinternal
        AND tgenabled IN ('O', 'A') AND tgname <> :besides
    ORDER BY relname, tgname
    """
)
_FORCED = text(
    """
    SELECT oid::regclass::text FROM pg_class
    WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p') AND relforcerowsecurity ORDER BY relname
    """
)
# What pg_get_indexdef does not tell, or a new index would not have, keeps its index: comments, statistics targets,
# tablespaces, CLUSTER, replica identities, partitions, and constraints that need it.
_INDEXES = text(
    """
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
    FROM pg_index
    JOIN pg_class AS index ON index.oid = indexrelid
    JOIN pg_class AS indexed ON indexed.oid = indrelid
    WHERE indexed.relnamespace = to_regnamespace(:schema) AND indexed.relname = ANY(:tables) AND indexed.relkind = 'r'
        AND NOT indexed.relispartition AND NOT indisprimary AND NOT indisclustered AND NOT indisreplident
        AND index.reltablespace = 0 AND obj_description(indexrelid, 'pg_class') IS NULL
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
        AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = indexrelid AND attstattarget >= 0)
    ORDER BY index.relname
    """
)


@dataclass(frozen=True, slots=True)
class SetAside:
    """Something that is taken off, by one statement, and put back by others."""

    remove: str
    restore: tuple[str, ...]
    is_checked: bool = False
    """Whether it is a constraint that the server cannot put back without a check of the rows."""

    def unchecked(self) -> SetAside:
        """Return the constraint as one that is put back without a check of the rows."""
        first, *others = self.restore
        return (
            self
            if self.is_checked or first.endswith(" NOT VALID")
            else replace(self, restore=(f"{first} NOT VALID", *others))
        )


def constraints(connection: Connection, schema: str, *, leads_out: bool) -> list[SetAside]:
    """Return the foreign keys to other schemas; or those within *schema*, and CHECKs that call functions.

    Such a function may read other tables, which are not complete while rows are loaded.
    """
    found: list[SetAside] = []
    for row in connection.execute(_CONSTRAINTS, {"schema": quote_identifier(schema)}):
        if row.leads_out == leads_out:
            name, alter = quote_identifier(row.name), f"ALTER TABLE {row.table}"
            restore = [f"{alter} ADD CONSTRAINT {name} {row.definition}"]
            if row.comment is not None:
                restore.append(f"COMMENT ON CONSTRAINT {name} ON {row.table} IS {quote_literal(row.comment)}")
            found.append(SetAside(f"{alter} DROP CONSTRAINT {name}", tuple(restore), row.is_checked))
    return found


def delays(connection: Connection, schema: str) -> list[SetAside]:
    """Return the delays of constraints to the end of the transaction: no table with pending checks can be changed."""
    return [
        SetAside(f"SET CONSTRAINTS {name} IMMEDIATE", (f"SET CONSTRAINTS {name} DEFERRED",))
        for name in connection.execute(_DEFERRED, {"schema": quote_identifier(schema)}).scalars()
    ]


def triggers(connection: Connection, schema: str, *, besides: str = "") -> dict[str, list[SetAside]]:
    """Return the triggers that users have made, as far as they would be executed, by the names of their tables.

    :param besides: the name of those that are left out.
    """
    found = defaultdict[str, list[SetAside]](list)
    for row in connection.execute(_TRIGGERS, {"schema": quote_identifier(schema), "besides": besides}):
        name, alter = quote_identifier(row.name), f"ALTER TABLE ONLY {row.table}"
        enable = f"{alter} ENABLE {'ALWAYS ' if row.enabled == 'A' else ''}TRIGGER {name}"
        found[row.table].append(SetAside(f"{alter} DISABLE TRIGGER {name}", (enable,)))
    return found


def row_security(connection: Connection, schema: str) -> list[SetAside]:
    """Return the row security that holds for the owner, too: COPY does not write to such tables."""
    return [
        SetAside(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY", (f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",))
        for table in connection.execute(_FORCED, {"schema": quote_identifier(schema)}).scalars()
    ]


def indexes(connection: Connection, schema: str, tables: Collection[str]) -> list[SetAside]:
    """Return the indexes of *tables* besides those of keys: with many rows, they are built faster afterwards."""
    where = {"schema": quote_identifier(schema), "tables": list(tables)}
    return [
        SetAside(f"DROP INDEX {row.name}", (row.definition,)) for row in connection.execute(_INDEXES, where) if tables
    ]


def defaults(connection: Connection, schema: str, column: TenantColumn, value: str | None) -> list[SetAside]:
    """Return the defaults of a tenant *column*, in place of which rows get the *value*."""
    found: list[SetAside] = []
    for name, default in catalog.read_defaults(connection, schema, column.name).items():
        alter = f"ALTER TABLE ONLY {catalog.qualified(schema, name)} ALTER {column.sql_name}"
        new = "DROP DEFAULT" if value is None else f"SET DEFAULT {quote_literal(value)}"
        found.append(
            SetAside(f"{alter} {new}", (f"{alter} {'DROP DEFAULT' if default is None else f'SET DEFAULT {default}'}",))
        )
    return found


def remove(connection: Connection, things: Iterable[SetAside]) -> None:
    """Take *things* off."""
    for each in things:
        catalog.execute(connection, each.remove)


def restore(connection: Connection, things: Iterable[SetAside]) -> None:
    """Put *things* back."""
    for each in things:
        for statement in each.restore:
            catalog.execute(connection, statement)
