"""The objects of a schema in PostgreSQL's catalog, as text without the schema's own name."""

from __future__ import annotations

from sqlalchemy import Connection, text

_CATALOG = text(
    """
    SELECT 'column ' || relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
        || CASE WHEN attnotnull THEN ' not null' ELSE '' END || ' ' || attidentity::text || attgenerated::text
        || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = :schema AND relkind = 'r' AND attnum > 0 AND NOT attisdropped

    UNION ALL
    SELECT 'constraint ' || relname || '.' || conname || ' ' || pg_get_constraintdef(pg_constraint.oid)
    FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid WHERE relnamespace = :schema AND contype <> 'n'

    UNION ALL
    SELECT pg_get_indexdef(pg_class.oid) FROM pg_class WHERE relnamespace = :schema AND relkind = 'i'

    UNION ALL
    SELECT 'enum ' || typname || ' ' || string_agg(enumlabel, ', ' ORDER BY enumsortorder)
    FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid WHERE typnamespace = :schema GROUP BY typname

    UNION ALL
    SELECT 'comment ' || relname || '.' || coalesce(attname, '') || ' ' || description
    FROM pg_description JOIN pg_class ON pg_class.oid = objoid AND classoid = 'pg_class'::regclass
    LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND attnum > 0 WHERE relnamespace = :schema

    UNION ALL
    SELECT 'function ' || proname || ' ' || prosrc || proconfig::text FROM pg_proc WHERE pronamespace = :schema

    UNION ALL
    SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = :schema AND NOT tgisinternal
    """
)


def describe(connection: Connection, schema: str) -> set[str]:
    """Return every column, constraint, index, type, comment, function and trigger of *schema*.

    Alembic's version table is omitted.
    """
    oid = connection.execute(text("SELECT oid FROM pg_namespace WHERE nspname = :name"), {"name": schema}).scalar_one()
    found = connection.execute(_CATALOG, {"schema": oid}).scalars()
    return {
        line.replace(f'"{schema}"', schema).replace(f"{schema}.", "") for line in found if "alembic_version" not in line
    }
