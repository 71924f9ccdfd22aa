"""Lookup of the revisions that a tenant's schema includes, fast enough for every request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import dumps
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from tenantkit.databases.base import Databases, connected
from tenantkit.databases.forks import PerProcess
from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.isolations import Isolations
from tenantkit.postgres.quoting import quote_identifier
from tenantkit.revision_files import Graph, included, read_graph
from tenantkit.tenant import Tenant

if TYPE_CHECKING:
    from tenantkit.registry.lookups import Lookups

TRUSTED_FOR = 5.0
"""Number of seconds for which "yes" is cached: only a downgrade removes a revision."""

MARK = "tenantkit: outside of a transaction, there began: "
"""The prefix of the comment on a version table while a revision runs steps outside of a transaction."""
DOWNGRADE = "downgrade "
"""The continuation of the comment for a downgrade."""


_WRITE_ORDER = text(
    """
    INSERT INTO tenantkit.revisions (revision, down_revisions)
    SELECT key, ARRAY(SELECT jsonb_array_elements_text(value)) FROM jsonb_each(CAST(:order AS jsonb))
    EXCEPT SELECT revision, down_revisions FROM tenantkit.revisions
    ORDER BY 1
    ON CONFLICT (revision) DO UPDATE SET down_revisions = excluded.down_revisions
    """
)
"""Writes in one order, and only new rows, because concurrent runs must not wait for one another."""


def write_order(connection: Connection, order: Mapping[str, Sequence[str]]) -> None:
    """Record the existing revisions, each with its direct predecessors."""
    connection.execute(_WRITE_ORDER, {"order": dumps({revision: list(before) for revision, before in order.items()})})


def read_order(connection: Connection) -> Graph:
    """Return the known revisions, of this code and of other versions that have migrated tenants."""
    rows = connection.exec_driver_sql("SELECT revision, down_revisions FROM tenantkit.revisions")
    return {row.revision: tuple(row.down_revisions) for row in rows}


def read_heads(connection: Connection, tenant: Tenant) -> tuple[tuple[str, ...], str | None]:
    """Return the heads of a tenant's schema, and the one that a downgrade may have removed partly, if any."""
    table = f"{quote_identifier(tenant.schema)}.alembic_version"
    query = f"SELECT version_num, obj_description(tableoid, 'pg_class') FROM {table}"  # noqa: S608 - quoted
    rows = connection.exec_driver_sql(query.replace("%", "%%")).all()
    comment = (rows[0][1] if rows else None) or ""
    return tuple(sorted(head for head, _ in rows)), comment.partition(MARK + DOWNGRADE)[2] or None


def has_revisions(connection: Connection, tenant: Tenant) -> bool:
    """Return whether a tenant's schema has a version table."""
    table = f"{quote_identifier(tenant.schema)}.alembic_version"
    return connection.execute(text("SELECT to_regclass(:table)"), {"table": table}).scalar() is not None


class Revisions:
    """The order of an application's revisions, and a cache of tenants' recent revisions.

    Only "yes" is cached, because a missing revision may be applied at any moment. A change in the registry
    invalidates the cache.
    """

    def __init__(self, databases: Databases, isolations: Isolations, lookups: Lookups, migrations: Path | None) -> None:
        self.isolations = isolations
        self._databases = databases
        self._lookups = lookups
        self._migrations = migrations
        self._graph: Graph | None = None
        self._included: dict[tuple[tuple[str, ...], str | None], frozenset[str]] = {}
        self._seen = PerProcess[dict[int, tuple[frozenset[str], int, float]]](dict)

    def includes(self, tenant: Tenant, revision: str) -> bool:
        """Return whether the schema of *tenant* includes *revision*, from memory or by a query of its own."""
        if self.has(tenant, revision):
            return True
        with self._databases.main.connect() as connection:
            return self.look_up(connection, self._databases, tenant, revision)

    def has(self, tenant: Tenant, revision: str) -> bool:
        """Return whether *tenant* is known to include *revision*, without I/O once the files have been read.

        :raises ConfigurationError: if there is no such revision.
        """
        if revision not in self._revisions():
            raise ConfigurationError(
                f"There is no revision {revision!r} in {self._migrations}. Write the whole id, or add its file."
            )
        there, generation, until = self._seen.get().get(tenant.id, (frozenset(), -1, 0.0))
        return revision in there and generation == self._lookups.cache.generation and until > monotonic()

    def look_up(self, connection: Connection, databases: Databases, tenant: Tenant, revision: str) -> bool:
        """Return whether the schema of *tenant* includes *revision*, and cache its revisions.

        :param connection: a connection to the main one of *databases*, which also has the order of revisions.
        :raises TenantUnavailableError: if this version of tenantkit cannot reach the schema.
        :raises ConfigurationError: if the tenant is at an unknown revision.
        """
        self.isolations.of(tenant)
        generation, now = self._lookups.cache.generation, monotonic()
        with connected(databases, tenant.placement.database, connection) as there:
            heads, going = where = read_heads(there, tenant)
        if where not in self._included:
            graph = self._order(connection, tenant, heads)
            self._included[where] = frozenset[str]().union(*(included(graph, head) for head in heads)) - {going}
        self._seen.get()[tenant.id] = (self._included[where], generation, now + TRUSTED_FOR)
        return revision in self._included[where]

    def _order(self, connection: Connection, tenant: Tenant, heads: Sequence[str]) -> Graph:
        """Return an order that has *heads*: that of this code, or of newer code that has migrated the tenant."""
        graph = self._revisions()
        if not graph.keys() >= set(heads):
            graph = graph | read_order(connection)
        for head in set(heads) - graph.keys():
            raise ConfigurationError(
                f"Tenant {tenant.key!r} is at revision {head}, which is not in {self._migrations}, nor known "
                "from a run of 'tenantkit migrate'. Update the code."
            )
        return graph

    def _revisions(self) -> Graph:
        if self._graph is None:
            if self._migrations is None:
                raise ConfigurationError("This tenancy has no revisions: pass Tenancy(..., migrations='migrations').")
            self._graph = read_graph(self._migrations / "tenant")
        return self._graph
