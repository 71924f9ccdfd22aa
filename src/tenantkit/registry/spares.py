"""Spares in the registry: functions of a connection to the main database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import dumps
from typing import Any

from sqlalchemy import Connection, text

from tenantkit.frozen import freeze
from tenantkit.postgres.advisory_locks import PLACEMENT, PLAN

RENAME_SPARE = """
    CREATE FUNCTION tenantkit.rename_spare(spare text, new_schema text) RETURNS void LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        routine record;
    BEGIN
        EXECUTE 'ALTER SCHEMA ' || quote_ident(spare) || ' RENAME TO ' || quote_ident(new_schema);
        -- The name of a spare is random and needs quotes, so it is nothing else in a path.
        FOR routine IN
            SELECT pg_proc.oid::regprocedure AS name, substr(setting, 13) AS path
            FROM pg_depend JOIN pg_proc ON pg_proc.oid = objid CROSS JOIN unnest(proconfig) AS setting
            WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace(quote_ident(new_schema))
                AND classid = 'pg_proc'::regclass AND setting ^@ 'search_path='
                AND strpos(setting, quote_ident(spare)) > 0
        LOOP
            -- FROM CURRENT keeps a path as it was written: this is one statement only without a semicolon.
            IF strpos(routine.path, ';') > 0 THEN
                PERFORM tenantkit.refuse('TK003', 'the path of a routine has a semicolon');
            END IF;
            EXECUTE 'ALTER ROUTINE ' || routine.name || ' SET search_path TO '
                || replace(routine.path, quote_ident(spare), quote_ident(new_schema));
        END LOOP;
    END $$
"""
"""Renames the schema of a spare, also in the paths of its routines."""

# Those who look take the lock together, for their transaction.
_IS_PLANNED = f"""
    outcomes.status = 'planned' AND runs.finished_at IS NULL
    AND NOT pg_try_advisory_xact_lock_shared({PLAN.format(run="run_id")})
"""
"""Whether a run that lives will migrate the tenant of an outcome."""

CLAIM_SPARE = f"""
    CREATE FUNCTION tenantkit.claim_spare(
        new_key text, new_name text, new_schema text, new_status text, new_claim text, new_attributes jsonb,
        new_row_value text, new_domains text[], in_database text, wanted text, heads text[]
    ) RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
    DECLARE
        spare record;
        revisions text[];
        last bigint := 0;
    BEGIN
        IF EXISTS (SELECT FROM tenantkit.tenants WHERE key = new_key)
            OR EXISTS (SELECT FROM tenantkit.former_tenants WHERE key = new_key OR schema = new_schema)
            OR to_regnamespace(quote_ident(new_schema)) IS NOT NULL
            OR NOT pg_try_advisory_xact_lock({PLACEMENT.format(schema="new_schema")})
        THEN
            RETURN NULL;
        END IF;
        LOOP
            SELECT tenants.id, schema INTO spare FROM tenantkit.spares JOIN tenantkit.tenants USING (id)
                WHERE id > last AND status = 'spare' AND isolation = 'schema' AND database = in_database
                    AND contents = wanted
                    AND NOT EXISTS (
                        SELECT FROM tenantkit.outcomes JOIN tenantkit.runs ON runs.id = run_id
                        WHERE tenant_id = tenants.id AND {_IS_PLANNED}
                    )
                ORDER BY id LIMIT 1 FOR UPDATE OF tenants SKIP LOCKED;
            IF NOT FOUND THEN
                RETURN NULL;
            END IF;
            last := spare.id;
            CONTINUE WHEN NOT pg_try_advisory_xact_lock({PLACEMENT.format(schema="spare.schema")});
            EXECUTE 'SELECT array_agg(version_num::text ORDER BY version_num COLLATE "C") FROM '
                || quote_ident(spare.schema) || '.alembic_version' INTO revisions;
            EXIT WHEN revisions = heads;
        END LOOP;
        PERFORM tenantkit.rename_spare(spare.schema, new_schema);
        DELETE FROM tenantkit.spares WHERE id = spare.id;
        INSERT INTO tenantkit.domains (domain, tenant_id, is_primary)
            SELECT domain, spare.id, number = 1 FROM unnest(new_domains) WITH ORDINALITY AS domains (domain, number);
        UPDATE tenantkit.tenants SET key = new_key, name = new_name, schema = new_schema, status = new_status,
            claim = new_claim, attributes = new_attributes, row_value = new_row_value,
            created_at = now(), updated_at = now()
            WHERE id = spare.id;
        -- A tenant that had the key may have been dropped meanwhile: its schema's name is never used again.
        IF EXISTS (SELECT FROM tenantkit.former_tenants WHERE key = new_key) THEN
            PERFORM tenantkit.refuse('TK003', 'the key had another tenant');
        END IF;
        RETURN spare.id;
    END $$
"""  # noqa: S608 - locks of ours
"""Turns a spare into a tenant, in one statement; returns its id, or NULL if there is no spare for it."""

_CLAIM = text(
    "SELECT tenantkit.claim_spare(:key, :name, :schema, :status, :claim, CAST(:attributes AS jsonb), :row_value, "
    "CAST(:domains AS text[]), :database, :contents, CAST(:heads AS text[]))"
)
_PUT = text(
    """
    INSERT INTO tenantkit.spares (id, contents) VALUES (:id, :contents)
    ON CONFLICT (id) DO UPDATE SET contents = :contents, checked_at = now()
    """
)
_READ = text(
    "SELECT id, contents, checked_at >= now() - make_interval(secs => :seconds) AS is_checked FROM tenantkit.spares"
)
_PLANNED = text(
    f"""
    SELECT tenant_id FROM tenantkit.spares JOIN tenantkit.outcomes ON tenant_id = spares.id
    JOIN tenantkit.runs ON runs.id = run_id WHERE {_IS_PLANNED}
    """  # noqa: S608 - ours
)
_RENAME = text("SELECT tenantkit.rename_spare(:schema, :new)")
_HOLD = text(f"SELECT pg_advisory_lock({PLAN.format(run='CAST(:run AS bigint)')})")
_NOTIFY = text("SELECT pg_notify('tenantkit', :key)")


def claim(
    connection: Connection,
    *,
    attributes: Mapping[str, Any],
    domains: Sequence[str],
    heads: Sequence[str],
    **values: str | None,
) -> bool:
    """Turn a spare into a tenant in the caller's transaction; return whether there was a spare for it."""
    lists = {"domains": list(domains), "heads": list(heads), "attributes": dumps(freeze(attributes))}
    return connection.execute(_CLAIM, {**values, **lists}).scalar_one() is not None


def rename(connection: Connection, schema: str, new: str) -> None:
    """Rename the schema of a spare as `claim` does."""
    connection.execute(_RENAME, {"schema": schema, "new": new})


def put(connection: Connection, spare_id: int, contents: str) -> None:
    """Record that a spare has *contents*: it may be claimed by those who would build the same."""
    connection.execute(_PUT, {"id": spare_id, "contents": contents})


def read(connection: Connection, seconds: float) -> dict[int, tuple[str, bool]]:
    """Return, by the id of each spare, its contents, and whether it was checked in the last *seconds*."""
    return {row.id: (row.contents, row.is_checked) for row in connection.execute(_READ, {"seconds": seconds})}


def read_planned(connection: Connection) -> set[int]:
    """Return the ids of the spares that runs will migrate which live."""
    return {*connection.execute(_PLANNED).scalars()}


def hold(connection: Connection, run_id: int) -> None:
    """Let no spare be claimed that a run has planned to migrate, for as long as *connection* is open."""
    connection.execute(_HOLD, {"run": run_id})


def notify(connection: Connection, key: str) -> None:
    """Let every process forget that there was no such tenant.

    In a transaction of its own, which writes nothing, it hardly delays the commits of others.
    """
    connection.execute(_NOTIFY, {"key": key})
