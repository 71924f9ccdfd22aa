"""What happened to tenants: an audit trail that outlives them, in the transactions of the changes.

Triggers write it, so it has changes by SQL, too. Roles that may change tenants cannot change it. It grows with changes
only, and nothing depends on it: rows may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from json import dumps
from typing import Any

from sqlalchemy import Connection, text

from tenantkit.exceptions import InvalidTenantKeyError
from tenantkit.frozen import EMPTY, freeze
from tenantkit.naming import validate_key
from tenantkit.tenant import Tenant


class Event(StrEnum):
    """The kinds of what happens to a tenant."""

    CLAIMED = "claimed"
    """Its creation began, so the key is taken."""
    CREATED = "created"
    ADOPTED = "adopted"
    FAILED = "failed"
    """Its creation failed."""
    RESTORED = "restored"
    """Its rows are those of a backup."""
    CLONED = "cloned"
    """Its rows are those of another tenant."""
    READ_ONLY = "read_only"
    """It is served by transactions that read only."""
    SUSPENDED = "suspended"
    MAINTENANCE = "maintenance"
    RESUMED = "resumed"
    RENAMED = "renamed"
    """It got another key, or its schema another name."""
    MOVED = "moved"
    """It has another database, or another isolation."""
    SWAPPED = "swapped"
    """It got the tables of another tenant, which is its copy, or whose copy it is."""
    MIGRATED = "migrated"
    DOWNGRADED = "downgraded"
    STAMPED = "stamped"
    BACKED_UP = "backed_up"
    """Of backups with nothing between them, the last one is kept."""
    EXPORTED = "exported"
    DROP_SCHEDULED = "drop_scheduled"
    DROP_CANCELLED = "drop_cancelled"
    DROPPING = "dropping"
    """Its removal began."""
    DROPPED = "dropped"
    RELEASED = "released"
    """It was removed from the registry, and its data stayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of a tenant's history."""

    at: datetime
    event: str
    """An `Event`, or the word of a newer version of tenantkit."""
    tenant_id: int
    key: str
    """The tenant's key at that time; after a rename, the new one."""
    role: str
    """The login of the database that did it."""
    details: Mapping[str, Any] = field(default_factory=lambda: EMPTY, hash=False)
    """Read-only; no value of it is a secret."""


RECORD_CHANGES = (
    """
    CREATE TABLE tenantkit.history (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id bigint,
        key text,
        event text NOT NULL,
        happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        role text NOT NULL DEFAULT session_user,
        details jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object'),
        CHECK ((tenant_id IS NULL) = (key IS NULL))
    )
    """,
    "CREATE INDEX history_tenant ON tenantkit.history (tenant_id, id)",
    "CREATE INDEX history_key ON tenantkit.history (key)",
    "CREATE INDEX history_common ON tenantkit.history (id) WHERE tenant_id IS NULL",
    # With the privileges of its owner, so that a role that may change tenants need not, and cannot, write history.
    """
    CREATE FUNCTION tenantkit.record_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        event text;
        placement jsonb;
    BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO tenantkit.history (tenant_id, key, event, details) VALUES (
                OLD.id, OLD.key, CASE OLD.status WHEN 'dropping' THEN 'dropped' ELSE 'released' END,
                jsonb_build_object('isolation', OLD.isolation, 'database', OLD.database, 'schema', OLD.schema)
            );
            RETURN NULL;
        END IF;
        placement := jsonb_build_object('isolation', NEW.isolation, 'database', NEW.database, 'schema', NEW.schema);
        IF TG_OP = 'UPDATE' AND NEW.swapped_with IS NOT NULL AND (OLD.key, OLD.status) = (NEW.key, NEW.status) THEN
            -- An exchange of two placements has a step in between, which changes the isolation only.
            IF (OLD.database, OLD.schema) <> (NEW.database, NEW.schema) THEN
                INSERT INTO tenantkit.history (tenant_id, key, event, details) VALUES (
                    NEW.id, NEW.key, 'swapped', jsonb_strip_nulls(placement || jsonb_build_object(
                        'with', (SELECT key FROM tenantkit.tenants WHERE id = NEW.swapped_with),
                        'from_schema', nullif(OLD.schema, NEW.schema),
                        'from_database', nullif(OLD.database, NEW.database)
                    ))
                );
            END IF;
            RETURN NULL;
        END IF;
        -- A spare gets its key and schema when it becomes a tenant.
        IF TG_OP = 'UPDATE' AND OLD.status <> 'spare' AND (OLD.key, OLD.isolation, OLD.database, OLD.schema)
            IS DISTINCT FROM (NEW.key, NEW.isolation, NEW.database, NEW.schema)
        THEN
            event := CASE WHEN OLD.isolation = NEW.isolation AND OLD.database = NEW.database
                THEN 'renamed' ELSE 'moved' END;
            INSERT INTO tenantkit.history (tenant_id, key, event, details) VALUES (
                NEW.id, NEW.key, event, jsonb_strip_nulls(placement || jsonb_build_object(
                    'from_key', nullif(OLD.key, NEW.key), 'from_schema', nullif(OLD.schema, NEW.schema),
                    'from_database', nullif(OLD.database, NEW.database),
                    'from_isolation', nullif(OLD.isolation, NEW.isolation)
                ))
            );
        END IF;
        IF TG_OP = 'UPDATE' AND OLD.status = NEW.status AND OLD.drop_at IS NOT DISTINCT FROM NEW.drop_at THEN
            RETURN NULL;
        END IF;
        event := CASE
            WHEN NEW.status = 'provisioning' THEN 'claimed'
            WHEN NEW.status NOT IN ('active', 'read_only', 'suspended', 'maintenance') THEN NEW.status
            -- An adoption claims no key: it enters the tenant and completes it in one transaction.
            WHEN TG_OP = 'UPDATE' AND OLD.status = 'provisioning' AND OLD.claim IS NULL THEN 'adopted'
            WHEN TG_OP = 'INSERT' OR OLD.status IN ('provisioning', 'failed', 'spare') THEN 'created'
            WHEN OLD.status = 'drop_scheduled' THEN 'drop_cancelled'
            WHEN NEW.status = 'active' THEN 'resumed'
            ELSE NEW.status
        END;
        INSERT INTO tenantkit.history (tenant_id, key, event, details) VALUES (
            NEW.id, NEW.key, event,
            jsonb_strip_nulls(jsonb_build_object(
                'status', NEW.status,
                'from', CASE TG_OP WHEN 'UPDATE' THEN OLD.status END,
                'message', NEW.message,
                'until', NEW.until,
                'drop_at', CASE WHEN event = 'drop_scheduled' THEN NEW.drop_at END,
                'run', CASE WHEN NEW.claim ^@ 'run ' THEN substr(NEW.claim, 5)
                    WHEN TG_OP = 'UPDATE' AND OLD.claim ^@ 'run ' THEN substr(OLD.claim, 5) END,
                'error', CASE WHEN event = 'failed' THEN NEW.error END
            )) || CASE WHEN event IN ('claimed', 'created', 'adopted') THEN placement ELSE '{}' END
        );
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER record_entered AFTER INSERT ON tenantkit.tenants FOR EACH ROW
        WHEN (NOT starts_with(NEW.key, '~spare-') AND (NEW.status <> 'provisioning' OR NEW.claim IS NOT NULL))
        EXECUTE FUNCTION tenantkit.record_change()
    """,
    """
    CREATE TRIGGER record_changed AFTER UPDATE ON tenantkit.tenants FOR EACH ROW
        WHEN (
            (OLD.status, OLD.key, OLD.isolation, OLD.database, OLD.schema, OLD.drop_at)
                IS DISTINCT FROM (NEW.status, NEW.key, NEW.isolation, NEW.database, NEW.schema, NEW.drop_at)
            AND NOT starts_with(NEW.key, '~spare-')
        )
        EXECUTE FUNCTION tenantkit.record_change()
    """,
    """
    CREATE TRIGGER record_removed AFTER DELETE ON tenantkit.tenants FOR EACH ROW
        WHEN (NOT starts_with(OLD.key, '~spare-')) EXECUTE FUNCTION tenantkit.record_change()
    """,
    """
    CREATE FUNCTION tenantkit.record_migration() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        -- Thousands of tenants may share common tables: their migration is one row, without a tenant.
        INSERT INTO tenantkit.history (tenant_id, key, event, details)
        SELECT CASE WHEN isolation <> 'row' THEN tenants.id END, CASE WHEN isolation <> 'row' THEN key END,
            CASE command WHEN 'migrate' THEN 'migrated' WHEN 'downgrade' THEN 'downgraded'
                WHEN 'stamp' THEN 'stamped' ELSE command END,
            jsonb_build_object('run', runs.id, 'from', NEW.from_revision, 'to', NEW.to_revision)
                || CASE isolation
                    WHEN 'row' THEN jsonb_build_object('database', database, 'schema', schema) ELSE '{}' END
        FROM tenantkit.tenants, tenantkit.runs
        WHERE tenants.id = NEW.tenant_id AND runs.id = NEW.run_id AND NOT starts_with(key, '~spare-');
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER record_migration AFTER UPDATE OF status ON tenantkit.outcomes FOR EACH ROW
        WHEN (OLD.status <> 'done' AND NEW.status = 'done') EXECUTE FUNCTION tenantkit.record_migration()
    """,
    # As triggers of a table of their own, others could write any history with them.
    "REVOKE ALL ON FUNCTION tenantkit.record_change(), tenantkit.record_migration() FROM PUBLIC",
)
"""The table and its triggers; those for migrations run for tenants that have changed, not for all of a run."""

_RECORD = text(
    """
    WITH repeated AS (
        DELETE FROM tenantkit.history WHERE event = 'backed_up' AND CAST(:event AS text) = 'backed_up'
            AND id = (SELECT max(id) FROM tenantkit.history WHERE tenant_id = :id)
    )
    INSERT INTO tenantkit.history (tenant_id, key, event, details) VALUES (:id, :key, :event, CAST(:details AS jsonb))
    """
)

_READ = text(
    """
    WITH own AS (
        SELECT * FROM tenantkit.history WHERE tenant_id IN (
            SELECT tenant_id FROM tenantkit.history WHERE key = :key
            UNION SELECT id FROM tenantkit.tenants WHERE key = :key
        )
    ),
    shares AS (
        SELECT id AS tenant_id, database, schema FROM tenantkit.tenants WHERE key = :key AND isolation = 'row'
        UNION SELECT tenant_id, details ->> 'database', details ->> 'schema' FROM own
            WHERE details ->> 'isolation' = 'row'
    )
    SELECT id, tenant_id, key, event, happened_at, role, details FROM own
    UNION ALL
    SELECT common.id, shares.tenant_id, coalesce(before.key, :key), common.event, common.happened_at, common.role,
        common.details
    FROM shares
    JOIN tenantkit.history AS common ON common.tenant_id IS NULL
        AND common.details ->> 'database' = database AND common.details ->> 'schema' = schema
    LEFT JOIN LATERAL (
        SELECT key, event FROM own WHERE own.tenant_id = shares.tenant_id AND own.id < common.id
            ORDER BY id DESC LIMIT 1
    ) AS before ON true
    WHERE before.event NOT IN ('dropped', 'released')
        OR before.event IS NULL AND NOT EXISTS (SELECT FROM own WHERE own.tenant_id = shares.tenant_id)
    ORDER BY id
    """
)
"""With the migrations of common tables while the tenant had rows there. A tenant may be older than the history."""


def record(connection: Connection, tenant: Tenant, event: Event, details: Mapping[str, Any]) -> None:
    """Record what no row of the registry shows, in the caller's transaction."""
    values = {"id": tenant.id, "key": tenant.key, "event": event, "details": dumps(dict(details))}
    connection.execute(_RECORD, values)


def read(connection: Connection, key: str) -> Sequence[HistoryEntry]:
    """Return the history of all tenants that have, or have had, this key; the oldest entry first."""
    try:
        validate_key(key)
    except InvalidTenantKeyError:  # the server refuses some strings
        return ()
    return [
        HistoryEntry(
            at=row.happened_at,
            event=row.event,
            tenant_id=row.tenant_id,
            key=row.key,
            role=row.role,
            details=freeze(row.details),
        )
        for row in connection.execute(_READ, {"key": key})
    ]
