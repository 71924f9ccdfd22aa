"""The tables of a tenant as the code makes them at the revision of a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection

from tenantkit.deployment import Deployment
from tenantkit.isolation.target import MigrationTarget
from tenantkit.lifecycle.builders import MetadataBuilder
from tenantkit.migrations.environment.builder import AlembicBuilder


@dataclass(frozen=True)
class FileBuilder:
    """Creates tables at *revisions*; common tables, which have rows of others, at the newest ones."""

    tenancy: Deployment
    revisions: tuple[str, ...] | None
    """``None`` for tables without migrations."""
    contents: None = None

    @property
    def heads(self) -> tuple[str, ...]:
        """The revisions at which a call leaves a placement."""
        return self.revisions or ()

    @cached_property
    def _alembic(self) -> AlembicBuilder:
        return AlembicBuilder(self.tenancy)  # it reads all revisions

    @cached_property
    def _models(self) -> MetadataBuilder:
        return MetadataBuilder(self.tenancy)

    def attempt(self, main: Connection, connection: Connection, target: MigrationTarget) -> None:  # noqa: ARG002
        """Return nothing: recorded scripts build the newest revisions."""
        return

    def __call__(self, connection: Connection, target: MigrationTarget) -> None:
        """Create the tables in the current transaction."""
        if self.revisions is None:
            self._models(connection, target)
        else:
            self._alembic(connection, target, self._heads_at(target))

    def in_steps(self, connection: Connection, target: MigrationTarget) -> None:
        """Create the tables in separate transactions."""
        if self.revisions is None:
            self._models.in_steps(connection, target)
        else:
            self._alembic.in_steps(connection, target, self._heads_at(target))

    def require_current(self, connection: Connection, target: MigrationTarget) -> None:
        """Raise unless common tables are the newest ones.

        :raises ConfigurationError: if they are not.
        """
        current = self._models if self.revisions is None else self._alembic
        current.require_current(connection, target)

    def migrate(self, connection: Connection, target: MigrationTarget) -> None:
        """Migrate loaded tables to the newest revisions in the current transaction."""
        if self.revisions is not None:
            self._alembic(connection, target)

    def migrate_in_steps(self, connection: Connection, target: MigrationTarget) -> None:
        """Migrate loaded tables to the newest revisions as a migration does."""
        if self.revisions is not None:
            self._alembic.in_steps(connection, target)

    def _heads_at(self, target: MigrationTarget) -> tuple[str, ...] | None:
        return self.revisions if target.column is None else None
