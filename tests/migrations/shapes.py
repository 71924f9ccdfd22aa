"""The objects of a schema in PostgreSQL's catalog, as comparable text."""

from __future__ import annotations

from sqlalchemy import Connection, text

from tenantkit.postgres.quoting import quote_identifier

_QUERIES = {
    "relation": """
        SELECT relkind::text || ' ' || relname || coalesce(' -- ' || obj_description(c.oid, 'pg_class'), '')
        FROM pg_class c WHERE relnamespace = :oid
    """,
    "column": """
        SELECT relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
            || CASE WHEN attnotnull THEN ' not null' ELSE '' END || ' ' || attgenerated::text || attidentity::text
            || coalesce(' = ' || pg_get_expr(adbin, adrelid), '')
            || coalesce(' -- ' || col_description(c.oid, attnum), '')
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
        WHERE relnamespace = :oid AND attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm')
    """,
    "constraint": """
        SELECT conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid) || convalidated::text
        FROM pg_constraint WHERE connamespace = :oid
    """,
    "index": """
        SELECT pg_get_indexdef(indexrelid) || indisvalid::text
        FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = :oid
    """,
    "enum": """
        SELECT typname || ' ' || string_agg(enumlabel, ',' ORDER BY enumsortorder)
        FROM pg_type t JOIN pg_enum ON enumtypid = t.oid WHERE typnamespace = :oid GROUP BY typname
    """,
    "trigger": """
        SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
        WHERE relnamespace = :oid AND NOT tgisinternal
    """,
    "function": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = :oid AND prokind <> 'a'",
    "domain": """
        SELECT typname || ' ' || format_type(typbasetype, typtypmod) || typnotnull || coalesce(typdefault, '')
        FROM pg_type WHERE typnamespace = :oid AND typtype = 'd'
    """,
    "sequence": """
        SELECT relname || ' ' || to_jsonb(s) - 'seqrelid' - 'seqtypid' || ' ' || coalesce(
            (SELECT refobjid::regclass || '.' || attname || deptype::text
            FROM pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
            WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i')), '')
        FROM pg_sequence s JOIN pg_class c ON c.oid = seqrelid WHERE relnamespace = :oid
    """,
    "view": "SELECT relname || pg_get_viewdef(oid) FROM pg_class WHERE relnamespace = :oid AND relkind IN ('v', 'm')",
    "options": """
        SELECT relname || ' ' || relpersistence::text || relrowsecurity || relforcerowsecurity
            || coalesce(reloptions::text, '') || coalesce(pg_get_partkeydef(oid), '')
            || coalesce(pg_get_expr(relpartbound, oid), '')
        FROM pg_class WHERE relnamespace = :oid
    """,
    "policy": """
        SELECT polname || ' ' || polcmd::text || pg_get_expr(polqual, polrelid)
        FROM pg_policy JOIN pg_class c ON c.oid = polrelid WHERE relnamespace = :oid
    """,
    "comment": """
        SELECT o.type || ' ' || o.identity || ': ' || description
        FROM pg_description, pg_identify_object(classoid, objoid, objsubid) o
        WHERE o.schema = (SELECT nspname FROM pg_namespace WHERE oid = :oid)
    """,
}


def shape(connection: Connection, schema: str) -> list[str]:
    """Return every object of *schema* as a line; the schema's own name is written ``~``."""
    oid = connection.execute(text("SELECT oid FROM pg_namespace WHERE nspname = :schema"), {"schema": schema}).scalar()
    # An empty path, so that every name is written with its schema.
    connection.exec_driver_sql("SET LOCAL search_path = pg_temp")
    lines = [
        f"{kind} {line}"
        for kind, query in _QUERIES.items()
        for line in connection.execute(text(query), {"oid": oid}).scalars()
    ]
    return sorted(line.replace(f"{schema}.", "~.").replace(f"'{schema}'", "'~'") for line in lines)


def look(connection: Connection, schema: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the shape and the rows of a schema, without Alembic's own table."""
    data = rows(connection, schema)
    data.pop("alembic_version", None)
    # A function that keeps the search_path of its creation has tenantkit's, with pg_temp.
    lines = [
        line.replace("'~', 'pg_temp'", "'~'") for line in shape(connection, schema) if "alembic_version" not in line
    ]
    return lines, data


def rows(connection: Connection, schema: str) -> dict[str, list[str]]:
    """Return every row of every table of *schema*, as text, in the order of that text."""
    tables = connection.execute(
        text("SELECT tablename FROM pg_tables WHERE schemaname = :schema ORDER BY 1"), {"schema": schema}
    ).scalars()
    return {
        table: list(
            connection.exec_driver_sql(
                f"SELECT t::text FROM {quote_identifier(schema)}.{quote_identifier(table)} t ORDER BY 1"
            ).scalars()
        )
        for table in tables.all()
    }


def differences(
    found: tuple[list[str], dict[str, list[str]]], expected: tuple[list[str], dict[str, list[str]]]
) -> list[str]:
    """Return the differences of two schemas, as `look` describes them."""
    lines = [
        {*shape, *(f"row {table} {row}" for table, rows in data.items() for row in rows)}
        for shape, data in (found, expected)
    ]
    return [f"+ {line}" for line in sorted(lines[0] - lines[1])] + [f"- {line}" for line in sorted(lines[1] - lines[0])]
