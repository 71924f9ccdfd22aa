"""What a schema holds, as values that can be compared: catalogs and rows, not reports."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, text

from tenantkit.registry import store, swaps

_STRUCTURE = text(
    """
    SELECT 'relation' AS kind, relname AS name, relkind::text AS definition, pg_class.oid::text AS identity
    FROM pg_class WHERE relnamespace = to_regnamespace(:quoted)
    UNION ALL
    SELECT 'column', format('%s.%s', relname, attname),
        format('%s|%s|%s|%s|%s', attnum, format_type(atttypid, atttypmod), attnotnull, attidentity,
            pg_get_expr(adbin, adrelid)),
        attrelid::text
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = to_regnamespace(:quoted) AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'constraint', conname, pg_get_constraintdef(oid), oid::text
    FROM pg_constraint WHERE connamespace = to_regnamespace(:quoted)
    UNION ALL
    SELECT 'index', indexname, indexdef, '' FROM pg_indexes WHERE schemaname = :schema
    UNION ALL
    SELECT 'label', typname, enumlabel, pg_enum.oid::text
    FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid WHERE typnamespace = to_regnamespace(:quoted)
    UNION ALL
    SELECT 'trigger', tgname, pg_get_triggerdef(pg_trigger.oid), pg_trigger.oid::text
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = to_regnamespace(:quoted) AND NOT tgisinternal
    UNION ALL
    SELECT 'function', proname, prosrc, oid::text FROM pg_proc WHERE pronamespace = to_regnamespace(:quoted)
    ORDER BY 1, 2, 3
    """
)
_RELATIONS = text(
    """
    SELECT oid::regclass::text, CASE relkind WHEN 'S' THEN 'last_value, log_cnt, is_called' ELSE 'ctid::text, xmin::text, r::text' END
    FROM pg_class WHERE relnamespace = to_regnamespace(:quoted) AND relkind IN ('r', 'p', 'S', 'm') ORDER BY 1
    """
)


def structure(engine: Engine, schema: str) -> list[tuple[str, ...]]:
    """Return everything declared in a schema, with its name taken out: equal for any two complete tenants."""
    with engine.connect() as connection:
        return [
            (row.kind, row.name, row.definition.replace(f'"{schema}"', "…").replace(schema, "…"))
            for row in _rows(connection, schema)
        ]


def fingerprint(engine: Engine, schema: str) -> list[tuple[Any, ...]]:
    """Return everything in a schema down to object ids and row versions: equal only if nothing was touched."""
    with engine.connect() as connection:
        found: list[tuple[Any, ...]] = [tuple(row) for row in _rows(connection, schema)]
        for relation, contents in connection.execute(_RELATIONS, {"quoted": f'"{schema}"'}).all():
            query = f"SELECT {contents} FROM {relation} AS r ORDER BY ctid"
            found += [(relation, *row) for row in connection.exec_driver_sql(query)]
        registered = text(
            "SELECT t::text, t.xmin::text, d::text FROM tenantkit.tenants t "
            "LEFT JOIN tenantkit.domains d ON d.tenant_id = t.id WHERE t.schema = :schema ORDER BY d.domain"
        )
        return found + [tuple(row) for row in connection.execute(registered, {"schema": schema})]


def schemas(engine: Engine) -> set[str]:
    """Return the names of all schemas that are not PostgreSQL's own."""
    query = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    with engine.connect() as connection:
        return set(connection.exec_driver_sql(query).scalars())


def registered(engine: Engine) -> dict[str, str]:
    """Return the status of every tenant in the registry, by key."""
    with engine.connect() as connection:
        return {row.key: row.status for row in connection.exec_driver_sql("SELECT key, status FROM tenantkit.tenants")}


def set_status(engine: Engine, status: str, key: str = "%") -> None:
    """Give tenants any status in the registry, whatever they had, with what belongs to it."""
    query = text(
        """
        UPDATE tenantkit.tenants SET status = :status,
            drop_at = CASE WHEN :status = 'drop_scheduled' THEN now() + interval '30 days' END,
            status_before = CASE WHEN :status = 'drop_scheduled' THEN 'active' END
        WHERE key LIKE :key
        """
    )
    with engine.begin() as connection:
        connection.execute(query, {"status": status, "key": key})


def _rows(connection: Connection, schema: str) -> list[Any]:
    return list(connection.execute(_STRUCTURE, {"schema": schema, "quoted": f'"{schema}"'}))


def mark_copy(tenancy: Any, key: str, copy: str) -> None:
    """Record that a tenant is a copy of another one, as a restore does."""
    with getattr(tenancy, "sync", tenancy).engine.begin() as connection:
        swaps.mark_copy(connection, store.get(connection, copy).id, store.get(connection, key).id)
