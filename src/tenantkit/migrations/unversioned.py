"""Tables that were made from the models, before there were revisions: a first revision would make them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import text

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.planning import refuse
from tenantkit.migrations.sites import shared_site
from tenantkit.registry import store
from tenantkit.tenant import MIGRATED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection, Table

    from tenantkit.migrations.lines import Heads, Line
    from tenantkit.migrations.planning import Plan
    from tenantkit.tenancy import Tenancy

# A downgrade to the base leaves the version table, empty.
_UNVERSIONED = text(
    """
    SELECT nspname FROM pg_namespace WHERE nspname = ANY(:schemas)
    AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid AND relname = 'alembic_version')
    AND EXISTS (
        SELECT FROM pg_class
        WHERE relnamespace = pg_namespace.oid AND relname = ANY(:tables) AND relkind IN ('r', 'p')
    )
    """
)
_NAMED = 20
"""The number of tenants up to which a command names them."""


def refuse_unversioned(connection: Connection, tenancy: Tenancy, line: Line, plan: Plan) -> Plan:
    """Return *plan*, with the tenants refused that have tables of the models and no version table."""
    schemas = [work.tenant.schema for work in plan.work if not work.heads]
    found = _unversioned(connection, schemas, tenancy.tables.tenant)
    if not found:
        return plan
    keys = [work.tenant.key for work in plan.work if work.tenant.schema in found]
    for_all = len(keys) == len(store.find(connection, status=MIGRATED))
    chosen = "" if for_all else f" --tenants {','.join(keys) if len(keys) <= _NAMED else 'KEYS'}"
    error = _advice(line, chosen)
    return replace(
        plan,
        work=[work for work in plan.work if work.tenant.schema not in found],
        refused=[
            *plan.refused,
            *(refuse(work.tenant, work.heads, error) for work in plan.work if work.tenant.schema in found),
        ],
    )


def require_versioned_shared(connection: Connection, tenancy: Tenancy, line: Line, heads: Heads) -> None:
    """Raise if the shared tables were made from the models, so that the first revision would make them again.

    :raises ConfigurationError: if so, with the command that writes down where they are.
    """
    schema = shared_site(tenancy).schema
    if not heads and _unversioned(connection, [schema], tenancy.tables.shared):
        raise ConfigurationError(f"The shared tables cannot be migrated: {_advice(line, ' --shared')}.")


def _unversioned(connection: Connection, schemas: Collection[str], tables: Iterable[Table]) -> set[str]:
    if not schemas:
        return set()
    names = {"schemas": list(schemas), "tables": [table.name for table in tables]}
    return set(connection.execute(_UNVERSIONED, names).scalars())


def _advice(line: Line, chosen: str) -> str:
    bases = line.scripts.get_bases()
    first = bases[0] if len(bases) == 1 else "REVISION"
    return (
        f"the tables were made from the models, at no revision, and {first} would make them again. If they are what it "
        f"makes, write that down with 'tenantkit stamp {first}{chosen}', then migrate"
    )
