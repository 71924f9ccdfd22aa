"""Indexes of common tables that row security switches off."""

from __future__ import annotations

from sqlalchemy import Connection, text

_INDEXES = text(
    """
    SELECT indexrelid::regclass::text
    FROM pg_index
    JOIN pg_class ON pg_class.oid = indrelid
    CROSS JOIN LATERAL (
        -- the first column after the tenant's
        SELECT number, class FROM unnest(indkey::int2[], indclass::oid[]) WITH ORDINALITY AS part (number, class, place)
        LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = number
        WHERE attname IS DISTINCT FROM :column ORDER BY place LIMIT 1
    ) AS part
    JOIN pg_opclass ON pg_opclass.oid = class
    WHERE relnamespace = to_regnamespace(quote_ident(:schema)) AND relkind IN ('r', 'p') AND NOT relispartition
        AND (number = 0 OR opcname LIKE '%\\_pattern\\_ops' OR NOT EXISTS (
            SELECT FROM pg_amop JOIN pg_operator ON pg_operator.oid = amopopr JOIN pg_proc ON pg_proc.oid = oprcode
            WHERE amopfamily = opcfamily AND amoplefttype = opcintype AND proleakproof
        ))
    ORDER BY 1
    """
)


def unused_indexes(connection: Connection, schema: str, column: str) -> list[str]:
    """Return the indexes of a common schema that PostgreSQL does not use for a tenant's statements, by name.

    Under a policy, it evaluates only operators that leak nothing before the policy: those of numbers, texts and dates,
    not those of numeric, enums, arrays, jsonb or LIKE, nor expressions. :column is the tenant column.
    """
    return list(connection.execute(_INDEXES, {"schema": schema, "column": column}).scalars())
