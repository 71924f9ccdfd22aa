"""Creation of a new tenant's tables by every revision, in its empty schema."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.migrations.graph.contents import read_contents
from tenantkit.postgres.quoting import quote_identifier

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads


class AlembicBuilder:
    """Builds placements of *tenancy*, and reads the revisions once.

    :raises ConfigurationError: if there are none, or they cannot be used.
    """

    def __init__(self, tenancy: Deployment) -> None:
        self._tenancy = tenancy
        self.graph = graph_of(tenancy, "tenant")
        if self.graph.is_empty:
            raise ConfigurationError(
                f"There are no revisions in {self.graph.folder}, so a new tenant would have no tables. "
                "Write the first with 'tenantkit revision --autogenerate -m initial'."
            )

    @property
    def contents(self) -> str | None:
        """The hash of what determines the result of a call; ``None`` if that is not known."""
        return self._contents

    @property
    def heads(self) -> Heads:
        """The newest revisions."""
        return self.graph.heads()

    @cached_property
    def _contents(self) -> str | None:
        tenancy = self._tenancy
        return read_contents(self.graph, tenancy.placeholder, tenancy.extra_schemas, tenancy.main_schemas)

    def __call__(self, connection: Connection, target: MigrationTarget, heads: Heads | None = None) -> None:
        """Bring an empty placement to *heads*, by default the newest revisions, within the caller's transaction."""
        revision = "heads" if heads is None else ",".join(heads)
        self._run(connection, replace(target, in_transaction=True), revision)

    def in_steps(self, connection: Connection, target: MigrationTarget, heads: Heads | None = None) -> None:
        """Bring a placement to *heads* as a migration does, with its ``autocommit_block``s."""
        self._run(connection, target, "heads" if heads is None else ",".join(heads))

    def require_current(self, connection: Connection, target: MigrationTarget) -> None:
        """Raise unless a placement is at the newest revisions, or newer code has migrated it further."""
        query = f"SELECT version_num FROM {quote_identifier(target.schema)}.alembic_version ORDER BY 1"  # noqa: S608
        current = tuple(connection.exec_driver_sql(query.replace("%", "%%")).scalars())
        if current != self.graph.resolve("heads") and all(map(self.graph.knows, current)):
            raise ConfigurationError(
                f"The schema {target.schema!r}, which the new tenant shares with others, is not at the newest "
                "revisions. Run 'tenantkit migrate' first."
            )

    def _run(self, connection: Connection, target: MigrationTarget, revision: str = "heads") -> None:
        graph = self.graph
        run(connection, graph, target, lambda current, _: graph.upgrade_steps(revision, current) if revision else [])
