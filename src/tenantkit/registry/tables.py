"""The registry's tables, as `versions` creates them."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, DateTime, ForeignKey, Integer, MetaData, Table, Text, Uuid

SCHEMA = "tenantkit"
CHANNEL = "tenantkit"
"""The channel on which each change of a tenant or its domains is notified; the payload is the key, or empty for all."""

metadata = MetaData(schema=SCHEMA)

tenants = Table(
    "tenants",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("key", Text),
    Column("name", Text),
    Column("status", Text),
    Column("isolation", Text),
    Column("database", Text),
    Column("schema", Text),
    # jsonb in the database. Its own type is in a dialect, which takes as long to import as half of SQLAlchemy:
    # only the engine should import it, not `import tenantkit`.
    Column("attributes", JSON),
    Column("claim", Text),
    Column("error", Text),
    Column("created_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True)),
    Column("row_value", Text),
    Column("stamped", Text),
    Column("drop_at", DateTime(timezone=True)),
    Column("status_before", Text),
    Column("message", Text),
    Column("until", DateTime(timezone=True)),
    Column("swapped_with", BigInteger),
    Column("copy_of", BigInteger),
)
"""The tenants, for foreign keys of shared tables: ``ForeignKey(tenants.c.id)``."""

domains = Table(
    "domains",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("tenant_id", BigInteger, ForeignKey(tenants.c.id)),
    Column("is_primary", Boolean),
)

former_tenants = Table(
    "former_tenants",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("schema", Text, primary_key=True),
    Column("until", DateTime(timezone=True)),
)
"""The keys and schemas of tenants that were dropped or renamed; triggers record them."""

history = Table(
    "history",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("tenant_id", BigInteger),
    Column("key", Text),
    Column("event", Text),
    Column("happened_at", DateTime(timezone=True)),
    Column("role", Text),
    Column("details", JSON),  # jsonb
)
"""What happened to each tenant, also to those that were dropped; triggers record it."""

registry = Table(
    "registry",
    metadata,
    Column("single", Boolean, primary_key=True),
    Column("id", Uuid),
    Column("application", Text),
    Column("schema_prefix", Text),
    Column("placeholder", Text),
)

runs = Table(
    "runs",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("command", Text),
    Column("target", Text),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("options", JSON),  # jsonb
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("run_id", BigInteger, ForeignKey(runs.c.id), primary_key=True),
    Column("tenant_id", BigInteger, ForeignKey(tenants.c.id), primary_key=True),
    Column("status", Text),
    Column("from_revision", Text),
    Column("to_revision", Text),
    Column("duration_ms", BigInteger),
    Column("sqlstate", Text),
    Column("error", Text),
    Column("finished_at", DateTime(timezone=True)),
    Column("engine", Text),
    Column("attempts", Integer),
    Column("revision", Text),
    Column("file", Text),
    Column("line", Integer),
    Column("traceback", Text),
)

scripts = Table(
    "scripts",
    metadata,
    Column("contents", Text, primary_key=True),
    Column("state", Text),
    Column("schema", Text),
    Column("script", Text),
    Column("reason", Text),
    Column("recorded_at", DateTime(timezone=True)),
)

spares = Table(
    "spares",
    metadata,
    Column("id", BigInteger, ForeignKey(tenants.c.id), primary_key=True),
    Column("contents", Text),
    Column("checked_at", DateTime(timezone=True)),
)
