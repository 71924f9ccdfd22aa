"""Detection of extensions' types whose operators a tenant's statements do not find.

A tenant's search_path reaches its own schema, ``extra_schemas`` and pg_catalog. A column whose type has its operators
elsewhere takes part in comparisons all the same: with the operators of a type that it can be cast to (citext compares
as text does), so that a query gives another answer; or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, text

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.errors import sqlstate
from tenantkit.postgres.quoting import quote_identifier

# An operator is a type's own if both belong to the same extension, or neither to any.
_OUTSIDE = """
    outside AS MATERIALIZED (
        SELECT DISTINCT pg_type.oid AS type, oprnamespace AS space, of_type.refobjid AS extension
        FROM pg_operator
        JOIN pg_type ON pg_type.oid IN (oprleft, oprright)
        LEFT JOIN pg_depend AS of_type ON of_type.classid = 'pg_type'::regclass AND of_type.objid = pg_type.oid
            AND of_type.deptype = 'e'
        LEFT JOIN pg_depend AS of_operator ON of_operator.classid = 'pg_operator'::regclass
            AND of_operator.objid = pg_operator.oid AND of_operator.deptype = 'e'
        WHERE typnamespace <> 'pg_catalog'::regnamespace AND oprnamespace <> 'pg_catalog'::regnamespace
            AND oprnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname = ANY(:reachable))
            AND of_type.refobjid IS NOT DISTINCT FROM of_operator.refobjid
    )
"""

_ANY_OUTSIDE = text(f"WITH {_OUTSIDE} SELECT EXISTS (SELECT FROM outside)")  # noqa: S608 - nothing comes from outside
"""A query for the existence of such operators: most databases have none, and it costs less than to plan the other."""

# From the columns to the parts of their types, each by its OID: in a large fleet, pg_type has a row for each table.
_COLUMNS = text(
    f"""
    WITH RECURSIVE {_OUTSIDE},
    relation AS MATERIALIZED (
        SELECT pg_class.oid FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = ANY(:schemas) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
        UNION ALL SELECT to_regclass(name)::oid FROM unnest(CAST(:tables AS text[])) AS name
    ),
    attribute AS MATERIALIZED (
        SELECT attrelid, attname, attnum, atttypid FROM relation JOIN pg_attribute ON attrelid = relation.oid
        WHERE attnum > 0 AND NOT attisdropped
    ),
    part (whole, type) AS (
        SELECT DISTINCT atttypid, atttypid FROM attribute
        UNION
        SELECT whole, inner_type FROM part CROSS JOIN LATERAL (
            SELECT unnest(ARRAY[typbasetype, typelem]) FROM pg_type WHERE oid = part.type
            UNION ALL SELECT rngsubtype FROM pg_range WHERE part.type IN (rngtypid, rngmultitypid)
            UNION ALL SELECT atttypid FROM pg_attribute
            WHERE attrelid = (SELECT typrelid FROM pg_type WHERE oid = part.type) AND attnum > 0
        ) AS made (inner_type)
        WHERE inner_type <> 0
    )
    SELECT concat(CASE WHEN of_table.nspname <> ALL(:schemas) THEN of_table.nspname || '.' END, relname) AS "table",
        attname AS "column", format('%s.%s', of_type.nspname, typname) AS type, of_operator.nspname AS space, extname
    FROM attribute
    JOIN pg_class ON pg_class.oid = attrelid
    JOIN pg_namespace AS of_table ON of_table.oid = relnamespace
    JOIN part ON whole = atttypid
    JOIN outside ON outside.type = part.type AND (space <> relnamespace OR of_table.nspname <> ALL(:schemas))
    JOIN pg_namespace AS of_operator ON of_operator.oid = space
    JOIN pg_type ON pg_type.oid = outside.type
    JOIN pg_namespace AS of_type ON of_type.oid = typnamespace
    LEFT JOIN pg_extension ON pg_extension.oid = extension
    GROUP BY 1, 2, 3, 4, 5, attnum ORDER BY 1, attnum
    """  # noqa: S608 - nothing comes from outside
)

_MISSING = {"42704": re.compile(r"[\"„«“]([^\"“”»]+)[\"“”»]"), "42883": re.compile(r"([\w.\"]+)\(")}
"""undefined_object and undefined_function: the object's name in the message, in whichever language."""
_OBJECTS = text(
    """
    WITH object (class, oid, name, space) AS (
        SELECT 'pg_type'::regclass, oid, typname, typnamespace FROM pg_type WHERE typname = :name AND :state = '42704'
        UNION ALL SELECT 'pg_opclass'::regclass, oid, opcname, opcnamespace FROM pg_opclass
        WHERE opcname = :name AND :state = '42704'
        UNION ALL SELECT 'pg_proc'::regclass, oid, proname, pronamespace FROM pg_proc
        WHERE proname = :name AND :state = '42883'
    )
    SELECT nspname AS space, extname AS extension FROM object
    JOIN pg_namespace ON pg_namespace.oid = space
    JOIN pg_depend ON classid = class AND objid = object.oid AND deptype = 'e'
    JOIN pg_extension ON pg_extension.oid = refobjid
    WHERE nspname <> ALL(:reachable) AND nspname <> 'pg_catalog' ORDER BY 1, 2 LIMIT 1
    """
)
_AVAILABLE = text("SELECT name FROM pg_available_extensions WHERE name = :name AND installed_version IS NULL")


def require_operators(
    connection: Connection,
    schemas: Collection[str],
    *,
    extra_schemas: Sequence[str],
    shared: Iterable[Table] = (),
) -> None:
    """Raise unless tenants' statements find the operators of all columns in *schemas*, and of *shared* tables.

    The check includes the parts of domains, arrays, ranges and composite types.

    :raises ConfigurationError: if they do not; it names the columns, and the schemas that ``extra_schemas`` lacks.
    """
    if not connection.execute(_ANY_OUTSIDE, {"reachable": list(extra_schemas)}).scalar():
        return
    tables = [f"{quote_identifier(table.schema or 'public')}.{quote_identifier(table.name)}" for table in shared]
    with _without_jit(connection):
        rows = connection.execute(
            _COLUMNS, {"reachable": list(extra_schemas), "schemas": list(schemas), "tables": tables}
        ).all()
    if rows:
        columns = ", ".join(f"{row.table}.{row.column} ({row.type})" for row in rows[:5])
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""  # noqa: PLR2004 - as many as are shown
        spaces = list(dict.fromkeys(row.space for row in rows))
        extensions = list(dict.fromkeys(row.extname for row in rows if row.extname))
        raise ConfigurationError(
            f"Tenants' statements do not find the operators of {columns}{more}: they are in the schema "
            f"{' and '.join(map(repr, spaces))}, which is not on a tenant's search_path, so comparisons would fail or "
            f"follow the rules of another type. {_advice(extra_schemas, spaces, extensions)}"
        )


@contextmanager
def _without_jit(connection: Connection) -> Generator[None]:
    """Let the server not compile the queries of a block, which takes a second; to run them takes 10 ms."""
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        before, after = "BEGIN; SET LOCAL jit = off", "COMMIT"  # PgBouncer may send statements to several sessions
    else:
        jit = connection.exec_driver_sql("SHOW jit").scalar_one()
        before, after = "SET LOCAL jit = off", f"SET LOCAL jit = {jit}"
    connection.exec_driver_sql(before)
    yield
    connection.exec_driver_sql(after)


def explain(connection: Connection, error: BaseException, extra_schemas: Sequence[str]) -> str | None:
    """Return the remedy for an *error* about a missing type, operator class or function of an extension.

    :returns: ``None`` if the error has another cause.
    """
    state = sqlstate(error)
    if state not in _MISSING:
        return None
    message = (str(getattr(error, "orig", error)).splitlines() or [""])[0]
    for found in _MISSING[state].finditer(message):
        name = found[1].replace('"', "").rpartition(".")[2]
        parameters: dict[str, Any] = {"name": name, "state": state, "reachable": list(extra_schemas)}
        row = connection.execute(_OBJECTS, parameters).one_or_none()
        if row is not None:
            return (
                f"{name!r} is in the schema {row.space!r} (extension {row.extension}), which is not on a tenant's "
                f"search_path. {_advice(extra_schemas, [row.space], [row.extension])}"
            )
        extension = connection.execute(_AVAILABLE, {"name": {"geometry": "postgis"}.get(name, name)}).scalar()
        if extension is not None:
            schema = next(iter(extra_schemas), "extensions")
            return (
                f"{name!r} does not exist, because the extension {extension} is not installed in this database. Run "
                f"CREATE SCHEMA IF NOT EXISTS {schema}; CREATE EXTENSION {extension} SCHEMA {schema}; once, and pass "
                f"Tenancy(..., extra_schemas={tuple(dict.fromkeys((*extra_schemas, schema)))!r})."
            )
    return None


def _advice(extra_schemas: Sequence[str], spaces: Sequence[str], extensions: Sequence[str]) -> str:
    wanted = tuple(dict.fromkeys((*extra_schemas, *spaces)))
    advice = f"Pass Tenancy(..., extra_schemas={wanted!r})."
    if "public" in spaces and extensions:
        moves = "; ".join(f"ALTER EXTENSION {quote_identifier(each)} SET SCHEMA extensions" for each in extensions)
        advice += f" If 'public' has tables that tenants must not see, move it first, and pass 'extensions': {moves}."
    return advice
