"""Creation of a new tenant's tables by every revision, in its empty schema."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.migrations.graph.contents import read_contents
from tenantkit.migrations.graph.places import place_of
from tenantkit.postgres.errors import reason, sqlstate
from tenantkit.postgres.quoting import quote_identifier

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph


_MISSING = frozenset({"42703", "42P01"})
"""SQLSTATEs for a column or a table that does not exist."""
_IN_SCHEMA = re.compile(r'"([^"]+)\.[^".]+"')


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
        with explaining_start(graph, target.schema):
            run(
                connection, graph, target, lambda current, _: graph.upgrade_steps(revision, current) if revision else []
            )


@contextmanager
def explaining_start(graph: RevisionGraph, schema: str) -> Generator[None]:
    """Turn the error of a first revision that changes what no revision has created into a `ConfigurationError`.

    :raises ConfigurationError: with the way to a baseline.
    """
    try:
        yield
    except DBAPIError as error:
        named, first = _IN_SCHEMA.search(str(error.orig)), place_of(error).revision
        is_elsewhere = named is not None and named[1] != schema
        if sqlstate(error) not in _MISSING or is_elsewhere or first not in graph.scripts.get_bases():
            raise
        raise ConfigurationError(
            f"The revisions do not start from nothing: {first}, the first, needs what none has created "
            f"({as_clause(reason(error))}). If its tables were made by other means, such as create_all(), write a "
            "baseline with 'tenantkit squash --from-models' or '--from-tenant KEY'."
        ) from error
