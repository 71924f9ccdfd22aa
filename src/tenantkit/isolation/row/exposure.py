"""What shows or changes rows of common tables past their policies, as the catalog has it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from tenantkit.postgres.quoting import quote_identifier

_BYPASSING = "SELECT oid FROM pg_roles WHERE rolsuper OR rolbypassrls"

_GRANTS = text(
    f"""
    SELECT relname AS name, relkind = 'S' AS is_sequence, coalesce(quote_ident(rolname), 'PUBLIC') AS role,
        string_agg(privilege_type, ', ' ORDER BY privilege_type) AS privileges
    FROM pg_class CROSS JOIN aclexplode(relacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
    WHERE relnamespace = to_regnamespace(:schema) AND relname <> 'alembic_version' AND grantee <> relowner
        AND grantee NOT IN ({_BYPASSING})
        AND CASE WHEN relkind IN ('r', 'p') THEN privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER')
            ELSE relkind = 'S' AND privilege_type <> 'USAGE' END
    GROUP BY 1, 2, 3 ORDER BY 1, 3
    """  # noqa: S608 - nothing comes from outside
)
"""Privileges that policies do not restrict: of tables, and of their sequences, which all tenants share."""

_VIEWS = text(
    f"""
    WITH RECURSIVE reached (relation) AS (
        SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p')
        UNION
        SELECT ev_class FROM reached
        JOIN pg_depend ON refobjid = relation AND refclassid = 'pg_class'::regclass
            AND classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite ON pg_rewrite.oid = objid
    )
    SELECT oid::regclass::text AS name, relkind = 'm' AS is_materialized
    FROM reached JOIN pg_class ON oid = relation
    WHERE (relkind = 'm' AND relnamespace <> to_regnamespace(:schema))
        OR (relkind = 'v' AND relowner IN ({_BYPASSING}) AND NOT EXISTS (
            SELECT FROM pg_options_to_table(reloptions)
            WHERE option_name = 'security_invoker' AND option_value::boolean
        ))
    ORDER BY 1
    """  # noqa: S608 - nothing comes from outside
)

_FUNCTIONS = text(
    f"""
    SELECT oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = to_regnamespace(:schema) AND prosecdef AND proowner IN ({_BYPASSING}) ORDER BY 1
    """  # noqa: S608 - nothing comes from outside
)


def exposures(connection: Connection, schema: str) -> Iterator[str]:
    """Yield what reaches rows of all tenants of a common schema without its login bypassing row security."""
    where = {"schema": quote_identifier(schema)}
    for row in connection.execute(_GRANTS, where):
        if row.is_sequence:
            yield (
                f"the role {row.role} has {row.privileges} on the sequence {row.name!r} of the schema {schema!r}, "
                "which all tenants share; revoke all but USAGE"
            )
        else:
            yield (
                f"the role {row.role} has {row.privileges} on the table {row.name!r} of the schema {schema!r}, for "
                "which policies do not hold; revoke that"
            )
    for row in connection.execute(_VIEWS, where):
        if row.is_materialized:
            yield f"the materialized view {row.name} has rows of all tenants of the schema {schema!r}; drop it"
        else:
            yield (
                f"the view {row.name} shows rows of all tenants of the schema {schema!r}, as row security does not "
                "hold for its owner; give it to the owner of the tables"
            )
    for name in connection.execute(_FUNCTIONS, where).scalars():
        yield (
            f"the function {name} is SECURITY DEFINER, and row security does not hold for its owner; give it to the "
            "owner of the tables"
        )
