"""The registry's own migration: numbered steps of SQL, each applied once.

It does without Alembic so that an application can install the registry while it
starts, from any thread and with any driver, and so that `import tenantkit`
stays cheap. Steps are only ever added at the end.
"""

from __future__ import annotations

from sqlalchemy import Connection

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.fence import FENCE
from tenantkit.postgres.advisory_locks import INSTALLATION
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.registry.history import RECORD_CHANGES
from tenantkit.registry.spares import CLAIM_SPARE, RENAME_SPARE

REFUSE = """
    CREATE OR REPLACE FUNCTION tenantkit.refuse(sqlstate text, message text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message;
    END $$
"""
"""How a migration's script stops: plain SQL cannot raise, and a DO block is compiled anew each time."""

_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE tenantkit.tenants (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            key text NOT NULL UNIQUE,
            name text NOT NULL,
            status text NOT NULL
                CHECK (status IN ('provisioning', 'active', 'suspended', 'maintenance', 'dropping', 'failed')),
            isolation text NOT NULL DEFAULT 'schema' CHECK (isolation IN ('schema', 'database', 'row')),
            database text NOT NULL DEFAULT 'main',
            schema text NOT NULL CHECK (octet_length(schema) BETWEEN 1 AND 63),
            attributes jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
            claim text,
            error text,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
        """,
        # Row-mode tenants share a placement; a schema of its own belongs to one tenant.
        """
        CREATE UNIQUE INDEX tenants_placement_key ON tenantkit.tenants (database, schema)
            WHERE isolation <> 'row'
        """,
        "CREATE INDEX tenants_status_key ON tenantkit.tenants (status, key)",
        "CREATE INDEX tenants_attributes ON tenantkit.tenants USING gin (attributes jsonb_path_ops)",
        """
        CREATE TABLE tenantkit.domains (
            domain text PRIMARY KEY,
            tenant_id bigint NOT NULL REFERENCES tenantkit.tenants ON DELETE CASCADE,
            is_primary boolean NOT NULL DEFAULT false
        )
        """,
        "CREATE INDEX domains_tenant ON tenantkit.domains (tenant_id)",
        "CREATE UNIQUE INDEX domains_primary ON tenantkit.domains (tenant_id) WHERE is_primary",
        """
        CREATE TABLE tenantkit.runs (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            command text NOT NULL,
            target text NOT NULL,
            started_at timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz
        )
        """,
        """
        CREATE TABLE tenantkit.outcomes (
            run_id bigint NOT NULL REFERENCES tenantkit.runs ON DELETE CASCADE,
            tenant_id bigint NOT NULL REFERENCES tenantkit.tenants ON DELETE CASCADE,
            status text NOT NULL CHECK (status IN ('done', 'failed')),
            from_revision text,
            to_revision text,
            duration_ms bigint NOT NULL,
            sqlstate text,
            error text,
            finished_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (run_id, tenant_id)
        )
        """,
        "CREATE INDEX outcomes_tenant ON tenantkit.outcomes (tenant_id, run_id DESC)",
        # Triggers, not calls from our code: a change made by hand in psql must reach every process too.
        """
        CREATE FUNCTION tenantkit.notify_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_catalog.pg_notify('tenantkit', coalesce(OLD.key, NEW.key));
            RETURN NULL;
        END $$
        """,
        """
        CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON tenantkit.tenants
            FOR EACH ROW EXECUTE FUNCTION tenantkit.notify_tenant()
        """,
        """
        CREATE FUNCTION tenantkit.notify_domain() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_catalog.pg_notify('tenantkit', key) FROM tenantkit.tenants
                WHERE id IN (OLD.tenant_id, NEW.tenant_id);
            RETURN NULL;
        END $$
        """,
        """
        CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON tenantkit.domains
            FOR EACH ROW EXECUTE FUNCTION tenantkit.notify_domain()
        """,
    ),
    (
        # So that the next tenant with the key of one that was dropped gets a schema of another name.
        """
        CREATE TABLE tenantkit.former_tenants (
            id bigint PRIMARY KEY,
            key text NOT NULL,
            schema text NOT NULL,
            dropped_at timestamptz NOT NULL DEFAULT now()
        )
        """,
        "CREATE INDEX former_tenants_key ON tenantkit.former_tenants (key)",
        # A run records its plan before it does anything.
        """
        ALTER TABLE tenantkit.outcomes
            DROP CONSTRAINT outcomes_status_check,
            ADD CONSTRAINT outcomes_status_check CHECK (status IN ('planned', 'done', 'unchanged', 'failed')),
            ADD COLUMN engine text,
            ADD COLUMN attempts int NOT NULL DEFAULT 0,
            ALTER COLUMN duration_ms DROP NOT NULL,
            ALTER COLUMN finished_at DROP NOT NULL,
            ALTER COLUMN finished_at DROP DEFAULT
        """,
        "ALTER TABLE tenantkit.runs ADD COLUMN options jsonb NOT NULL DEFAULT '{}'",
    ),
    (
        REFUSE,
        # For older code that meets a tenant of newer code.
        "CREATE TABLE tenantkit.revisions (revision text PRIMARY KEY, down_revisions text[] NOT NULL)",
    ),
    (
        # The registry's identity, which every tenant that is read from it carries, and the application it belongs to.
        """
        CREATE TABLE tenantkit.registry (
            single boolean PRIMARY KEY DEFAULT true CHECK (single),
            id uuid NOT NULL DEFAULT gen_random_uuid(),
            application text,
            schema_prefix text,
            placeholder text
        )
        """,
        "INSERT INTO tenantkit.registry DEFAULT VALUES",
        # Runs have the name of their command.
        "UPDATE tenantkit.runs SET command = 'migrate' WHERE command = 'upgrade'",
        # So that a role that was given SELECT on the older tables can read this one too.
        "GRANT SELECT ON tenantkit.registry TO PUBLIC",
        # TRUNCATE runs no trigger for each row. An empty payload means all tenants.
        """
        CREATE FUNCTION tenantkit.notify_all() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_catalog.pg_notify('tenantkit', '');
            RETURN NULL;
        END $$
        """,
        """
        CREATE TRIGGER notify_all AFTER TRUNCATE ON tenantkit.tenants
            FOR EACH STATEMENT EXECUTE FUNCTION tenantkit.notify_all()
        """,
        """
        CREATE TRIGGER notify_all AFTER TRUNCATE ON tenantkit.domains
            FOR EACH STATEMENT EXECUTE FUNCTION tenantkit.notify_all()
        """,
    ),
    (
        # Where a migration failed.
        """
        ALTER TABLE tenantkit.outcomes
            ADD COLUMN revision text, ADD COLUMN file text, ADD COLUMN line int, ADD COLUMN traceback text
        """,
    ),
    (
        # The tenant's value of a column that the application declares. Without one, it is the id.
        "ALTER TABLE tenantkit.tenants ADD COLUMN row_value text",
        "CREATE UNIQUE INDEX tenants_row_value_key ON tenantkit.tenants (coalesce(row_value, id::text))",
    ),
    (
        # A tenant that is renamed leaves its key, and perhaps the name of its schema, which no other tenant may ever
        # get: a trigger records it, also if the change is made by hand.
        """
        ALTER TABLE tenantkit.former_tenants
            DROP CONSTRAINT former_tenants_pkey,
            ADD PRIMARY KEY (id, key, schema)
        """,
        "ALTER TABLE tenantkit.former_tenants RENAME COLUMN dropped_at TO until",
        """
        CREATE FUNCTION tenantkit.record_former() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO tenantkit.former_tenants (id, key, schema) VALUES (OLD.id, OLD.key, OLD.schema)
                ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$
        """,
        """
        CREATE TRIGGER record_former AFTER UPDATE OF key, schema ON tenantkit.tenants
            FOR EACH ROW
            WHEN (NOT starts_with(OLD.key, '~spare-') AND (OLD.key <> NEW.key OR OLD.schema <> NEW.schema))
            EXECUTE FUNCTION tenantkit.record_former()
        """,
        """
        CREATE TRIGGER record_dropped AFTER DELETE ON tenantkit.tenants
            FOR EACH ROW WHEN (NOT starts_with(OLD.key, '~spare-')) EXECUTE FUNCTION tenantkit.record_former()
        """,
        # Processes have cached the tenant by its old key, and may know that no tenant has the new one.
        """
        CREATE OR REPLACE FUNCTION tenantkit.notify_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_catalog.pg_notify('tenantkit', coalesce(OLD.key, NEW.key));
            IF OLD.key <> NEW.key THEN
                PERFORM pg_catalog.pg_notify('tenantkit', NEW.key);
            END IF;
            RETURN NULL;
        END $$
        """,
        # The revisions that an adoption has recorded in a version table of its own making.
        "ALTER TABLE tenantkit.tenants ADD COLUMN stamped text",
    ),
    (
        # The statements of Alembic that make a new tenant's tables, by the hash of what determines them.
        """
        CREATE TABLE tenantkit.scripts (
            contents text PRIMARY KEY,
            state text NOT NULL CHECK (state IN ('recorded', 'confirmed', 'refused')),
            schema text NOT NULL,
            script text NOT NULL,
            reason text,
            recorded_at timestamptz NOT NULL DEFAULT now()
        )
        """,
        # A spare is the row of a tenant to come. It has its final id, so its mark and its role stay.
        """
        ALTER TABLE tenantkit.tenants
            DROP CONSTRAINT tenants_status_check,
            ADD CONSTRAINT tenants_status_check CHECK (status IN
                ('provisioning', 'active', 'suspended', 'maintenance', 'dropping', 'failed', 'spare'))
        """,
        """
        CREATE TABLE tenantkit.spares (
            id bigint PRIMARY KEY REFERENCES tenantkit.tenants ON DELETE CASCADE,
            contents text NOT NULL,
            checked_at timestamptz NOT NULL DEFAULT now()
        )
        """,
        RENAME_SPARE,
        CLAIM_SPARE,
        # A commit with a notification waits for all others. No process knows a new tenant: only the activation, or the
        # creation by a spare after its commit, makes them forget that there was none.
        "DROP TRIGGER notify ON tenantkit.tenants",
        """
        CREATE TRIGGER notify AFTER UPDATE OR DELETE ON tenantkit.tenants
            FOR EACH ROW WHEN (OLD.status <> 'spare') EXECUTE FUNCTION tenantkit.notify_tenant()
        """,
        """
        CREATE OR REPLACE FUNCTION tenantkit.notify_domain() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_catalog.pg_notify('tenantkit', key) FROM tenantkit.tenants
                WHERE id IN (OLD.tenant_id, NEW.tenant_id) AND status NOT IN ('provisioning', 'spare');
            RETURN NULL;
        END $$
        """,
    ),
    (
        # A tenant whose drop is scheduled has a date, and the status that it gets back if the drop is cancelled.
        """
        ALTER TABLE tenantkit.tenants
            ADD COLUMN drop_at timestamptz,
            ADD COLUMN status_before text,
            DROP CONSTRAINT tenants_status_check,
            ADD CONSTRAINT tenants_status_check CHECK (status IN (
                'provisioning', 'active', 'read_only', 'suspended', 'maintenance', 'drop_scheduled', 'dropping',
                'failed', 'spare'
            )),
            ADD CONSTRAINT tenants_drop_check CHECK (CASE status
                WHEN 'drop_scheduled' THEN drop_at IS NOT NULL AND status_before IS NOT NULL
                WHEN 'dropping' THEN true
                ELSE drop_at IS NULL AND status_before IS NULL
            END)
        """,
        "CREATE INDEX tenants_drop_at ON tenantkit.tenants (drop_at) WHERE drop_at IS NOT NULL",
        # What visitors are told of a tenant that is suspended, read-only or in maintenance, and its announced end.
        "ALTER TABLE tenantkit.tenants ADD COLUMN message text, ADD COLUMN until timestamptz",
        *RECORD_CHANGES,
        FENCE,
        # The copy with which a tenant is being swapped, if that takes several transactions, and the tenant that a copy
        # was restored beside: ids, which may outlive their tenants.
        "ALTER TABLE tenantkit.tenants ADD COLUMN swapped_with bigint, ADD COLUMN copy_of bigint",
    ),
)


def install(connection: Connection) -> None:
    """Bring the registry's tables to this version of tenantkit, in the caller's transaction.

    Does nothing if they are current; processes that start together wait for one another.

    Gives up waiting for a lock as `limit_lock_waits` says, so the transaction is to be repeated.

    :raises ConfigurationError: if a newer tenantkit has upgraded them.
    """
    if _is_current(connection):
        return
    wait_for_others(connection)
    connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS tenantkit")
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS tenantkit.version (version int NOT NULL)")
    if _is_current(connection):  # another process has installed them while this one waited for the lock
        return
    limit_lock_waits(connection)  # behind a change of a table that waits, all lookups would wait
    before = installed_version(connection)
    if before:
        # First that of migrations, which may take long: lookups must not wait with this one until they end.
        connection.exec_driver_sql("LOCK TABLE tenantkit.outcomes, tenantkit.tenants IN ACCESS EXCLUSIVE MODE")
    for step in _STEPS[before:]:
        for statement in step:
            connection.exec_driver_sql(statement)
    connection.exec_driver_sql("DELETE FROM tenantkit.version")
    connection.exec_driver_sql(f"INSERT INTO tenantkit.version VALUES ({len(_STEPS)})")  # noqa: S608 - a number


def wait_for_others(connection: Connection) -> None:
    """Lock the registry's tables against changes by other processes until the transaction ends."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({INSTALLATION})")


def _is_current(connection: Connection) -> bool:
    installed = installed_version(connection)
    if installed > len(_STEPS):
        raise ConfigurationError(
            f"The registry has version {installed}, but this tenantkit knows {len(_STEPS)}. Upgrade tenantkit."
        )
    return installed == len(_STEPS)


def installed_version(connection: Connection) -> int:
    """Return the version of the registry in the database; 0 where there is none."""
    if connection.exec_driver_sql("SELECT to_regclass('tenantkit.version')").scalar() is None:
        return 0
    return connection.exec_driver_sql("SELECT max(version) FROM tenantkit.version").scalar() or 0
