"""A tenant's schema in the catalog: made, recognized as ours, and removed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import Connection, text
from sqlalchemy.schema import CreateSchema, DropSchema

from tenantkit.naming import first_lines
from tenantkit.postgres.limits import Limits
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.tenant import Tenant

CHUNK = 5
"""Number of tables that one transaction drops: that takes about 100 locks. The lock table of a server has room for
about 6,400 of all its transactions; a whole schema of 40 tables takes 700."""

SHORT_WAITS = Limits("500ms")
"""The limit of a wait for a shared table: statements of other tenants queue behind it."""

_OWNER = text("SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = :schema")
_KEYS_TO_OTHERS = text(
    """
    SELECT source.relname, conname FROM pg_constraint
    JOIN pg_class AS source ON source.oid = conrelid
    JOIN pg_class AS target ON target.oid = confrelid
    JOIN pg_namespace AS ours ON ours.oid = source.relnamespace
    WHERE contype = 'f' AND conparentid = 0 AND ours.nspname = :schema AND target.relnamespace <> ours.oid
    """
)
# Partitions before the tables that they belong to, and later tables before those that they may inherit from. Those of
# an extension can be dropped with it only.
_TABLES = text(
    """
    SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(:schema)) AND relkind IN ('r', 'p')
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
        )
    ORDER BY relispartition DESC, oid DESC
    """
)
# Everything that CASCADE would reach, by the dependencies that it follows itself: views, foreign keys, columns of the
# tenant's types, inheriting tables, functions, defaults, triggers. What has no schema of its own is its table's.
_DEPENDANTS = text(
    """
    WITH RECURSIVE reached (classid, objid) AS (
        SELECT 'pg_namespace'::regclass::oid, oid FROM pg_namespace WHERE nspname = :schema
        UNION
        SELECT pg_depend.classid, pg_depend.objid
        FROM reached JOIN pg_depend ON refclassid = reached.classid AND refobjid = reached.objid
    )
    SELECT DISTINCT pg_describe_object(classid, objid, 0)
    FROM reached
    LEFT JOIN pg_rewrite ON classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = objid
    LEFT JOIN pg_trigger ON classid = 'pg_trigger'::regclass AND pg_trigger.oid = objid AND NOT tgisinternal
    LEFT JOIN pg_attrdef ON classid = 'pg_attrdef'::regclass AND pg_attrdef.oid = objid
    LEFT JOIN pg_policy ON classid = 'pg_policy'::regclass AND pg_policy.oid = objid
    LEFT JOIN pg_constraint ON classid = 'pg_constraint'::regclass AND pg_constraint.oid = objid
    LEFT JOIN pg_type ON classid = 'pg_type'::regclass AND pg_type.oid = objid
    LEFT JOIN pg_proc ON classid = 'pg_proc'::regclass AND pg_proc.oid = objid
    LEFT JOIN pg_class ON pg_class.oid = coalesce(
        ev_class, tgrelid, adrelid, polrelid, CASE WHEN classid = 'pg_class'::regclass THEN objid END
    )
    JOIN pg_namespace ON pg_namespace.oid = coalesce(relnamespace, connamespace, typnamespace, pronamespace)
    WHERE nspname NOT IN (:schema, 'pg_toast')
    ORDER BY 1
    """
)

_OWNER_OF_ALL = text(
    """
    SELECT owner::regrole::text FROM (
        SELECT nspowner AS owner FROM pg_namespace WHERE nspname = :schema
        UNION SELECT relowner FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = :schema AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    ) AS owners WHERE NOT pg_has_role(owner, 'USAGE') ORDER BY 1
    """
)
_CLOSED = text(
    """
    SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)
        OR NOT has_schema_privilege(:role, nspname, 'USAGE')
        OR EXISTS (
            SELECT FROM pg_class, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS privilege
            WHERE relnamespace = pg_namespace.oid AND relkind = 'S'
                AND NOT has_sequence_privilege(:role, pg_class.oid, privilege)
        )
        OR EXISTS (
            SELECT FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
            WHERE relnamespace = pg_namespace.oid AND relkind IN ('r', 'p') AND relname <> 'alembic_version'
                AND NOT has_table_privilege(:role, pg_class.oid, privilege)
        )
    FROM pg_namespace WHERE nspname = :schema
    """
)

_IN_BOTH = text(
    """
    SELECT other.oid::regclass::text FROM pg_class AS own
    JOIN pg_class AS other ON other.relname = own.relname AND other.relkind IN ('r', 'p', 'v', 'm', 'f')
    JOIN pg_namespace ON pg_namespace.oid = other.relnamespace
    WHERE own.relnamespace = to_regnamespace(quote_ident(:schema)) AND own.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND nspname = ANY(:others) AND own.relname <> 'alembic_version'
    """
)
_MARKED = text(
    """
    SELECT nspname, split_part(obj_description(oid, 'pg_namespace'), ' ', 3)::bigint AS tenant_id
    FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') ~ '^tenantkit tenant [0-9]+$'
    """
)


def mark_of(tenant: Tenant) -> str:
    """Return the comment that a schema of *tenant* carries."""
    return f"tenantkit tenant {tenant.id}"


def marked_id(mark: str) -> int | None:
    """Return the id of the tenant in a comment on a schema; ``None`` if it is no mark of tenantkit's."""
    found = re.fullmatch(r"tenantkit tenant ([0-9]+)", mark)
    return None if found is None else int(found[1])


def read_mark(connection: Connection, schema: str) -> str | None:
    """Return the comment on a schema, an empty string without one, ``None`` without a schema."""
    return connection.execute(_OWNER, {"schema": schema}).scalar_one_or_none()


def read_marks(connection: Connection) -> dict[str, int]:
    """Return the tenants' ids in the comments of schemas, by the schemas' names."""
    return {row.nspname: row.tenant_id for row in connection.execute(_MARKED)}


def names_of(connection: Connection, tenant: Tenant) -> list[str]:
    """Return the names of the schemas with the mark of *tenant*: one, unless somebody has copied it."""
    return [name for name, tenant_id in read_marks(connection).items() if tenant_id == tenant.id]


def tables_in_both(connection: Connection, schema: str, others: Iterable[str]) -> list[str]:
    """Return the tables and views of *others* with the name of one in *schema*."""
    return list(connection.execute(_IN_BOTH, {"schema": schema, "others": list(others)}).scalars())


def make_schema(connection: Connection, tenant: Tenant) -> None:
    """Create the empty schema of *tenant*, marked as its own."""
    connection.execute(CreateSchema(tenant.schema))
    set_mark(connection, tenant.schema, mark_of(tenant))


def set_mark(connection: Connection, schema: str, mark: str | None) -> None:
    """Set the comment on a schema, or remove it."""
    value = "NULL" if mark is None else quote_literal(mark)
    connection.exec_driver_sql(f"COMMENT ON SCHEMA {quote_identifier(schema)} IS {value}".replace("%", "%%"))


def obstacle_to_own(connection: Connection, schema: str) -> str | None:
    """Return which roles own a schema or a table in it so that the current login cannot migrate it, with the remedy."""
    owners = connection.execute(_OWNER_OF_ALL, {"schema": schema}).scalars().all()
    if not owners:
        return None
    login = connection.exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
    return (
        f"it, or a table in it, belongs to {first_lines(owners)}, so this login cannot migrate it; execute "
        f"GRANT {', '.join(owners)} TO {login}, or use the login that owns it"
    )


def obstacle_to_use(connection: Connection, schema: str, roles: Iterable[str]) -> str | None:
    """Return which of *roles* may not read and write the existing tables of a schema, with the remedy."""
    for role in roles:
        if connection.execute(_CLOSED, {"schema": schema, "role": role}).scalar_one():
            place, name = quote_identifier(schema), quote_identifier(role)
            return (
                f"the role {role!r} may not read and write its tables; execute "
                f"GRANT USAGE ON SCHEMA {place} TO {name}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN "
                f"SCHEMA {place} TO {name}; GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {place} TO {name}"
            )
    return None


def let_use_schema(
    connection: Connection, schema: str, roles: Iterable[str], *, sequences: str = "USAGE, SELECT, UPDATE"
) -> None:
    """Let *roles* read and write all that the current role will create in a schema, now and in later migrations."""
    for role in roles:
        place, name = (quote_identifier(each).replace("%", "%%") for each in (schema, role))
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {place} TO {name}")
        default = f"ALTER DEFAULT PRIVILEGES IN SCHEMA {place} GRANT"
        connection.exec_driver_sql(f"{default} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {name}")
        connection.exec_driver_sql(f"{default} {sequences} ON SEQUENCES TO {name}")


def let_use(connection: Connection, objects: Iterable[str], role: str) -> None:
    """Let *role* read and write existing *objects*, each ``TABLE`` or ``SEQUENCE`` and its quoted name."""
    for each in objects:
        privileges = "USAGE, SELECT, UPDATE" if each.startswith("SEQUENCE") else "SELECT, INSERT, UPDATE, DELETE"
        connection.exec_driver_sql(f"GRANT {privileges} ON {each} TO {quote_identifier(role)}".replace("%", "%%"))


def drop_schema(connection: Connection, schema: str) -> None:
    """Remove a schema and all in it."""
    connection.execute(DropSchema(schema, cascade=True, if_exists=True))


def dependants(connection: Connection, schema: str) -> list[str]:
    """Return descriptions of what ``DROP SCHEMA … CASCADE`` would take down or change in other schemas."""
    return list(connection.execute(_DEPENDANTS, {"schema": schema}).scalars())


def keys_to_others(connection: Connection, schema: str) -> list[tuple[str, str, str]]:
    """Return the foreign keys from a schema to others, each as schema, table and constraint."""
    return [(schema, row.relname, row.conname) for row in connection.execute(_KEYS_TO_OTHERS, {"schema": schema})]


def drop_key(connection: Connection, key: tuple[str, str, str]) -> None:
    """Drop one foreign key, if it is still there; other tenants wait for its table meanwhile, so give up early."""
    SHORT_WAITS.apply(connection)
    schema, table, constraint = (quote_identifier(name).replace("%", "%%") for name in key)
    connection.exec_driver_sql(f"ALTER TABLE IF EXISTS {schema}.{table} DROP CONSTRAINT IF EXISTS {constraint}")


def table_chunks(connection: Connection, schema: str) -> list[list[str]]:
    """Return the tables of a schema in the order of their removal, in chunks for one transaction each."""
    tables = connection.execute(_TABLES, {"schema": schema}).scalars().all()
    return [list(tables[start : start + CHUNK]) for start in range(0, len(tables), CHUNK)]


def drop_tables(connection: Connection, schema: str, tables: Iterable[str]) -> None:
    """Drop those of *tables* that are still there, with what else of the schema depends on them."""
    names = ", ".join(f"{quote_identifier(schema)}.{quote_identifier(table)}" for table in tables)
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {names} CASCADE".replace("%", "%%"))
