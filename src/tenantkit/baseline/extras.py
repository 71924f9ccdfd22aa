"""Statements for what `tenantkit.drift` does not compare: comments, storage and statistics."""

from __future__ import annotations

from sqlalchemy import Connection, text

from tenantkit.postgres.quoting import quote_identifier

# Names are written with the schema first on the path, so without it.
_EXTRAS = text(
    """
    WITH relation AS (
        SELECT pg_class.*, pg_class.oid::regclass::text AS name FROM pg_class
        WHERE relnamespace = CAST(:schema AS regnamespace) AND relname NOT LIKE 'alembic\\_version%'
    ), commented (class, oid, subject) AS (
        SELECT 'pg_proc'::regclass, oid, 'ROUTINE ' || oid::regprocedure
        FROM pg_proc WHERE pronamespace = CAST(:schema AS regnamespace) AND prokind <> 'a'
        UNION ALL SELECT 'pg_class', oid, CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'INDEX ' END || name
        FROM relation WHERE relkind IN ('S', 'i', 'I')
        UNION ALL SELECT 'pg_constraint', pg_constraint.oid, format('CONSTRAINT %I ON %s', conname, name)
        FROM pg_constraint JOIN relation ON relation.oid = conrelid WHERE contype <> 'n'
        UNION ALL SELECT 'pg_constraint', oid, format('CONSTRAINT %I ON DOMAIN %s', conname, contypid::regtype)
        FROM pg_constraint WHERE connamespace = CAST(:schema AS regnamespace) AND contypid <> 0 AND contype = 'c'
        UNION ALL SELECT 'pg_trigger', pg_trigger.oid, format('TRIGGER %I ON %s', tgname, name)
        FROM pg_trigger JOIN relation ON relation.oid = tgrelid
        UNION ALL SELECT 'pg_policy', pg_policy.oid, format('POLICY %I ON %s', polname, name)
        FROM pg_policy JOIN relation ON relation.oid = polrelid
        UNION ALL SELECT 'pg_type', oid, CASE typtype WHEN 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END || oid::regtype
        FROM pg_type WHERE typnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_statistic_ext', oid, format('STATISTICS %I', stxname)
        FROM pg_statistic_ext WHERE stxnamespace = CAST(:schema AS regnamespace)
    ), made (rank, statement) AS (
        SELECT 1, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
        WHERE stxnamespace = CAST(:schema AS regnamespace)
        UNION ALL
        SELECT 2, format('ALTER %s %s SET (%s)',
            CASE WHEN relkind IN ('i', 'I') THEN 'INDEX' WHEN relkind = 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
            name, (
                SELECT string_agg(format('%s = %L', split_part(option, '=', 1), value), ', ')
                FROM unnest(reloptions) AS option CROSS JOIN LATERAL substr(option, 1 + strpos(option, '=')) AS value
            ))
        FROM relation WHERE relkind IN ('r', 'p', 'm', 'i', 'I') AND reloptions IS NOT NULL
        UNION ALL
        SELECT 3, format('ALTER TABLE %s ALTER %I SET STORAGE %s', name, attname, CASE attstorage
            WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END)
        FROM relation JOIN pg_attribute ON attrelid = relation.oid JOIN pg_type ON pg_type.oid = atttypid
        WHERE relkind IN ('r', 'p') AND attnum > 0 AND attstorage <> typstorage
        UNION ALL
        SELECT 3, format('ALTER TABLE %s ALTER %I SET COMPRESSION %s', name, attname,
            CASE attcompression WHEN 'l' THEN 'lz4' ELSE 'pglz' END)
        FROM relation JOIN pg_attribute ON attrelid = relation.oid
        WHERE relkind IN ('r', 'p') AND attnum > 0 AND attcompression <> ''
        UNION ALL
        SELECT 3, format('ALTER TABLE %s ALTER %I SET STATISTICS %s', name, attname, attstattarget)
        FROM relation JOIN pg_attribute ON attrelid = relation.oid
        WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND attstattarget >= 0
        UNION ALL
        SELECT 3, format('ALTER TABLE %s CLUSTER ON %I', indrelid::regclass, relname)
        FROM pg_index JOIN relation ON relation.oid = indexrelid WHERE indisclustered
        UNION ALL
        SELECT 4, format('COMMENT ON %s IS %L', subject, description)
        FROM commented JOIN pg_description ON classoid = class AND objoid = commented.oid AND objsubid = 0
    )
    SELECT statement FROM made ORDER BY rank, statement
    """
)


def read_extras(connection: Connection, schema: str) -> tuple[str, ...]:
    """Return the statements that give these properties to the objects of another schema with the same shape.

    It leaves *schema* on the path of the transaction.
    """
    connection.exec_driver_sql(f"SET LOCAL search_path = {quote_identifier(schema)}, pg_temp".replace("%", "%%"))
    return tuple(connection.execute(_EXTRAS, {"schema": quote_identifier(schema)}).scalars())
