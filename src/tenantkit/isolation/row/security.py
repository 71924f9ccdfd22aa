"""What is wrong with the tables of a common schema, as the catalog has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, text

from tenantkit.isolation.row.policies import POLICY, condition
from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.postgres.quoting import quote_identifier

_BYPASSES = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
_TABLES = text(
    """
    SELECT relname AS name, relkind::text AS kind, relrowsecurity AND relforcerowsecurity AS is_forced,
        attnotnull AS is_filled, format_type(atttypid, NULL) AS type,
        (SELECT json_agg(json_build_array(
            polcmd = '*' AND polpermissive AND polroles = '{0}',
            pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
        )) FROM pg_policy WHERE polrelid = pg_class.oid) AS policies,
        EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgname = :trigger AND tgenabled IN ('O', 'A')
            AND tgfoid = to_regproc(:schema || '.require_tenant')) AS is_closed,
        ARRAY(SELECT index.relname::text FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
            WHERE indrelid = pg_class.oid AND (indisunique OR indisexclusion)
            AND NOT attnum = ANY((indkey::int2[])[0:indnkeyatts - 1])
            AND NOT (:keeps_keys AND indisprimary AND indnkeyatts = 1 AND 'uuid'::regtype = (
                SELECT key.atttypid FROM pg_attribute AS key WHERE key.attrelid = indrelid AND key.attnum = indkey[0]
            )) ORDER BY 1) AS global_indexes,
        ARRAY(SELECT conname::text FROM pg_constraint JOIN pg_class AS target ON target.oid = confrelid
            WHERE conrelid = pg_class.oid AND contype = 'f' AND target.relnamespace = pg_class.relnamespace
            AND NOT EXISTS (SELECT FROM unnest(conkey, confkey) AS pair (own, referred)
                JOIN pg_attribute AS theirs ON theirs.attrelid = confrelid AND theirs.attnum = referred
                WHERE own = pg_attribute.attnum AND theirs.attname = :column) ORDER BY 1) AS open_keys
    FROM pg_class
    LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attname = :column AND NOT attisdropped
    WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p', 'm', 'f') AND relname <> 'alembic_version'
    ORDER BY relname
    """
)

_UNDIVIDED = {"m": "materialized view", "f": "foreign table"}
"""Kinds of tables that have no policies."""
_SHOWN = {"text": {"text", "character varying"}}
"""The names in the catalog of a type that has several."""


def login_problem(connection: Connection) -> str | None:
    """Return why the login of *connection* cannot create or migrate common tables; ``None`` if it can."""
    if connection.execute(_BYPASSES).scalar_one():
        return (
            "row security does not hold for the login, a superuser or a role with BYPASSRLS; create tenants and "
            "migrate as an ordinary role that owns the tables"
        )
    return None


def problems(connection: Connection, schema: str, tenant: TenantColumn) -> list[str]:
    """Return what keeps the tables of a common schema from being divided among tenants; nothing if all are."""
    where = {
        "schema": quote_identifier(schema),
        "column": tenant.name,
        "keeps_keys": tenant.is_declared,
        "trigger": POLICY,
    }
    return [
        f"the table {row.name!r} of the schema {schema!r} {each}"
        for row in connection.execute(_TABLES, where)
        for each in _of(row, tenant, schema)
    ]


def _of(row: Any, tenant: TenantColumn, schema: str) -> Iterator[str]:
    if row.kind in _UNDIVIDED:
        what = _UNDIVIDED[row.kind]
        yield f"is a {what}, whose rows every tenant would see; move it to the shared tables, or drop it"
        return
    if row.is_filled is None:
        yield "lacks the tenant column; create it by op.create_table, or move it to the shared tables"
        return
    yield from _of_column(row, tenant)
    if not row.is_forced:
        yield "does not have row security enabled and forced"
    if not row.policies:
        yield "has no policy"
    elif len(row.policies) > 1:
        yield f"has {len(row.policies)} policies: each further one lets more rows through"
    elif not _is_ours(row.policies[0], _normal(condition(schema, tenant), schema), schema):
        yield "has another policy than tenantkit's"
    if not row.is_closed:
        yield "has no trigger 'tenantkit' that is enabled: a tenant that was removed could get rows"
    if row.global_indexes:
        yield f"has unique indexes over all tenants: {', '.join(row.global_indexes)}"
    if row.open_keys:
        yield f"has foreign keys that reach rows of other tenants: {', '.join(row.open_keys)}"


def _of_column(row: Any, tenant: TenantColumn) -> Iterator[str]:
    if row.type not in _SHOWN.get(tenant.type, {tenant.type}):
        yield f"has a tenant column of the type {row.type}, not {tenant.type}"
    if not row.is_filled:
        yield "permits NULL in its tenant column"


def _is_ours(policy: Sequence[Any], wanted: str, schema: str) -> bool:
    is_plain, using, check = policy
    return is_plain and _normal(using, schema) == _normal(check, schema) == wanted


def _normal(expression: str | None, schema: str) -> str:
    """Return an expression without what PostgreSQL adds or leaves out as it shows it."""
    bare = re.sub(r'::text|["()\s]', "", expression or "").casefold()
    return bare.replace(f"{schema.casefold()}.no_tenant", "no_tenant")
