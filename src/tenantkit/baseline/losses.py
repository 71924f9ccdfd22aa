"""Objects and properties of a schema that a baseline does not have, because `tenantkit.drift` does not compare them."""

from __future__ import annotations

from sqlalchemy import Connection, text

from tenantkit.drift.catalog.dependencies import COMMENT_ON_NOT_NULL, Detail
from tenantkit.drift.compare import subject
from tenantkit.postgres.quoting import quote_identifier

_LOST = frozenset({"its tablespace", COMMENT_ON_NOT_NULL})
"""Properties of objects that are not written."""

# Members of extensions, and what PostgreSQL makes with a table or a range type, are no objects of their own.
_OBJECTS = text(
    """
    WITH found (class, oid) AS (
        SELECT 'pg_proc'::regclass, oid FROM pg_proc
        WHERE pronamespace = CAST(:schema AS regnamespace) AND prokind = 'a'
        UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
        WHERE oprnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
        WHERE opcnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
        WHERE opfnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation
        WHERE collnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion
        WHERE connamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
        WHERE cfgnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
        WHERE dictnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser
        WHERE prsnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template
        WHERE tmplnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type
        WHERE typnamespace = CAST(:schema AS regnamespace) AND (typtype = 'r' OR (typtype = 'b' AND typcategory <> 'A'))
        UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class
        WHERE relnamespace = CAST(:schema AS regnamespace) AND relkind = 'f'
        UNION ALL SELECT 'pg_rewrite'::regclass, pg_rewrite.oid FROM pg_rewrite
        JOIN pg_class ON pg_class.oid = ev_class
        WHERE relnamespace = CAST(:schema AS regnamespace) AND rulename <> '_RETURN'
        UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension
        WHERE extnamespace = CAST(:schema AS regnamespace)
    )
    SELECT pg_describe_object(class, oid, 0) FROM found
    WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = oid AND deptype = 'e')
    ORDER BY 1
    """
)
_PRIVILEGES = text(
    """
    WITH found (what, owner, acl) AS (
        SELECT oid::regclass::text, relowner, relacl FROM pg_class WHERE relnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT attrelid::regclass || '.' || attname, relowner, attacl
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT oid::regprocedure::text, proowner, proacl
        FROM pg_proc WHERE pronamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT oid::regtype::text, typowner, typacl
        FROM pg_type WHERE typnamespace = CAST(:schema AS regnamespace)
        UNION ALL SELECT 'the schema', nspowner, nspacl FROM pg_namespace WHERE oid = CAST(:schema AS regnamespace)
    )
    SELECT DISTINCT format('the privileges on %s of %s', what, coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC'))
    FROM found CROSS JOIN aclexplode(acl)
    WHERE grantee <> owner AND NOT (grantee = 0 AND privilege_type IN ('EXECUTE', 'USAGE')) ORDER BY 1
    """
)


def find_losses(connection: Connection, schema: str, detail: Detail, *, privileges: bool) -> tuple[str, ...]:
    """Return descriptions of what a baseline with the objects of *detail* does not have, though *schema* has it.

    :param privileges: whether privileges count: in a living tenant's schema, they are those of every tenant.
    """
    connection.exec_driver_sql(f"SET LOCAL search_path = {quote_identifier(schema)}, pg_temp".replace("%", "%%"))
    queries = [_OBJECTS, _PRIVILEGES] if privileges else [_OBJECTS]
    found = [
        each for query in queries for each in connection.execute(query, {"schema": quote_identifier(schema)}).scalars()
    ]
    for key, properties in detail.dependencies.attached.items():
        found += [f"{subject(key)}: {each}" for each in sorted(properties) if each in _LOST]
    return tuple(found)
