"""Tables that were created from the models, before there were revisions: a first revision would create them again."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from tenantkit.databases.base import by_database, connected
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.environment.targets import shared_target
from tenantkit.migrations.planning.plan import refuse
from tenantkit.registry import store
from tenantkit.status import MIGRATED
from tenantkit.tenant import Placement

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph
    from tenantkit.migrations.planning.plan import Plan

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
"""Maximum number of tenants that a command lists."""


_MAKES_TABLE = re.compile(
    r"""\bcreate_table\(\s*["'](\w+)["']|\bcreate\s+table\s+(?!if\s)(?:["\w]+\.)?"?(\w+)""", re.IGNORECASE
)
"""Creation of a table in the text of a revision. Others, such as a loop over models, fail with PostgreSQL's error."""


def refuse_unversioned(connection: Connection, tenancy: Deployment, graph: RevisionGraph, plan: Plan) -> Plan:
    """Return *plan*, and refuse tenants that have no version table, but tables that their revisions create."""
    first = [work for work in plan.work if not work.heads]
    targets = {work.target for work in first}
    tables = {name for target in targets for name in _made_by(graph, target)}
    tables &= {table.name for table in tenancy.tables.tenant}
    found: set[Placement] = set()
    for database, there in by_database(tenancy.databases, (work.tenant.placement for work in first)).items():
        with connected(tenancy.databases, database, connection) as other:
            schemas = _unversioned(other, [placement.schema for placement in there], tables)
        found |= {Placement(database, schema) for schema in schemas}
    if not found:
        return plan
    keys = [work.tenant.key for work in first if work.tenant.placement in found]
    for_all = len(keys) == len(store.find(connection, status=MIGRATED))
    error = _advice(graph, "" if for_all else f" --tenants {','.join(keys) if len(keys) <= _NAMED else 'KEYS'}")
    refused = [refuse(work.tenant, work.heads, error) for work in first if work.tenant.placement in found]
    return replace(
        plan,
        work=[work for work in plan.work if work.tenant.placement not in found],
        refused=[*plan.refused, *refused],
    )


def require_versioned_shared(
    connection: Connection, tenancy: Deployment, graph: RevisionGraph, heads: Heads, target: str
) -> None:
    """Raise if shared tables were created from the models, so that revisions would create them again.

    :raises ConfigurationError: if so, with the command that records their revision.
    """
    if heads:
        return
    schema = shared_target(tenancy).schema
    tables = _made_by(graph, target) & {table.name for table in tenancy.tables.shared if table.schema == schema}
    if _unversioned(connection, [schema], tables):
        raise ConfigurationError(f"The shared tables cannot be migrated: {_advice(graph, ' --shared')}.")


def _made_by(graph: RevisionGraph, target: str) -> set[str]:
    """Return the names of the tables that the revisions up to *target* create, as far as their text shows it."""
    paths = [Path(step.revision.path) for step in graph.upgrade_steps(target, ())]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]  # it may be compiled
    return {
        name for each in texts if "if_not_exists" not in each for found in _MAKES_TABLE.findall(each) for name in found
    }


def _unversioned(connection: Connection, schemas: Collection[str], tables: Collection[str]) -> set[str]:
    if not schemas or not tables:
        return set()
    return set(connection.execute(_UNVERSIONED, {"schemas": list(schemas), "tables": list(tables)}).scalars())


def _advice(graph: RevisionGraph, chosen: str) -> str:
    bases = graph.scripts.get_bases()
    first = bases[0] if len(bases) == 1 else "REVISION"
    return (
        f"the tables were created from the models, at no revision, and {first} would create them again. If they are "
        f"equal to those of the revision, record that with 'tenantkit stamp {first}{chosen}', then migrate"
    )
