"""The contents of a new tenant's schema: tables from the metadata, and the first rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.schema import CreateSchema

from tenantkit.arguments import require_done
from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.row.writing import physical_form, require_divided
from tenantkit.naming import first_lines
from tenantkit.postgres.errors import sqlstate
from tenantkit.postgres.operators import explain, require_operators
from tenantkit.schema_objects import schema_of, types_of
from tenantkit.user_code import ContainedExits

if TYPE_CHECKING:
    from sqlalchemy.orm import sessionmaker

    from tenantkit.deployment import Deployment
    from tenantkit.isolation.target import MigrationTarget
    from tenantkit.sessions.session import Bound, TenantSession

Seed: TypeAlias = "Callable[[TenantSession], object]"
"""Writes the first rows of a new tenant, in a session that commits with the rest of its creation."""

_UNDEFINED_OBJECT = "42704"


class Attempt(Protocol):
    """Builds an empty placement faster than a builder, or with a record. If it fails, the builder may succeed."""

    def __call__(self, connection: Connection, target: MigrationTarget) -> None:
        """Create the tables within the caller's transaction."""
        ...

    def keep(self, main: Connection, error: Exception | None) -> None:
        """Record for later attempts, in the transaction of *main*, that it succeeded, or failed with *error*."""


class _Builds(Protocol):
    def __call__(self, connection: Connection, target: MigrationTarget) -> None: ...

    def attempt(self, main: Connection, connection: Connection, target: MigrationTarget) -> Attempt | None: ...

    def in_steps(self, connection: Connection, target: MigrationTarget) -> None: ...

    def require_current(self, connection: Connection, target: MigrationTarget) -> None: ...

    @property
    def contents(self) -> str | None: ...

    @property
    def heads(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class CheckedBuilder:
    """Creates a tenant's tables, and refuses columns whose operators the tenant's statements would not find."""

    declared: Deployment
    builds: _Builds

    def __call__(self, connection: Connection, target: MigrationTarget) -> None:
        """Create the tables within the caller's transaction.

        :raises ConfigurationError: if the `search_path` does not find an operator.
        """
        self.builds(connection, target)
        self._check(connection, target)

    def attempt(self, main: Connection, connection: Connection, target: MigrationTarget) -> Attempt | None:
        """Return what may be tried instead of a call; its result is checked as that of the call it was recorded from.

        :param main: a connection to the main database.
        """
        return self.builds.attempt(main, connection, target)

    def in_steps(self, connection: Connection, target: MigrationTarget) -> None:
        """Create the tables in separate transactions; raises as a call does."""
        self.builds.in_steps(connection, target)
        with connection.begin():
            self._check(connection, target)

    def require_current(self, connection: Connection, target: MigrationTarget) -> None:
        """Raise unless tables that are there already are those that a call would create.

        :raises ConfigurationError: if they are not.
        """
        self.builds.require_current(connection, target)

    @property
    def contents(self) -> str | None:
        """The text that determines what a call creates; ``None`` if it is not known before."""
        return self.builds.contents

    @property
    def spare_contents(self) -> str | None:
        """The text that determines a spare: what a call creates, and the `privileges`; ``None`` if it is not known."""
        return None if self.contents is None else f"{self.contents} {self.privileges}"

    @property
    def privileges(self) -> str:
        """The options of the deployment that determine who may use a new tenant's schema."""
        grant_to, roles = sorted({*self.declared.grant_to}), self.declared.tenant_roles
        guard = None if roles is None else "role" if roles.secret is None else "login"
        return f"{grant_to=} {guard=} guard_group={None if roles is None else roles.group!r}"

    @property
    def heads(self) -> tuple[str, ...]:
        """The newest revisions, at which a call leaves a placement."""
        return self.builds.heads

    def explain(self, connection: Connection, error: Exception) -> str | None:
        """Return an explanation of *error*, with which the creation of the tables failed, if there is one."""
        types = {
            f"{schema_of(named)}.{named.name}"
            for _, named in types_of(self.declared.tables.tenant)
            if schema_of(named) not in {None, self.declared.placeholder}
        }
        for name in types:
            if sqlstate(error) == _UNDEFINED_OBJECT and f'"{name}"' in str(error):
                return (
                    f"The type {name} does not exist. It has a real schema, so it is created with the shared tables: "
                    "run 'tenantkit migrate', or metadata.create_all(tables=tenancy.tables.shared)"
                )
        return explain(connection, error, self.declared.extra_schemas)

    def _check(self, connection: Connection, target: MigrationTarget) -> None:
        extra = self.declared.extra_schemas
        require_operators(connection, [target.schema], extra_schemas=extra, shared=self.declared.tables.shared)


@dataclass(frozen=True, slots=True)
class MetadataBuilder:
    """Creates a tenant's tables from the models, for applications without migrations."""

    declared: Deployment
    contents: None = None
    heads: tuple[str, ...] = ()

    def __call__(self, connection: Connection, target: MigrationTarget) -> None:
        """Create every tenant table in the schema of *target*."""
        tables = list(self.declared.tables.tenant)
        connection.execution_options(schema_translate_map={self.declared.placeholder: target.schema})
        # For the text in defaults, checks and computed columns.
        connection.execute(select(func.set_config("search_path", target.path, True)))  # noqa: FBT003
        with physical_form(connection, target):
            for metadata in {table.metadata for table in tables}:
                metadata.create_all(connection, tables=tables, checkfirst=False)
        require_divided(connection, target)

    def attempt(self, main: Connection, connection: Connection, target: MigrationTarget) -> None:  # noqa: ARG002
        """Return nothing: there are no revisions, whose run takes long."""
        return

    def require_current(self, connection: Connection, target: MigrationTarget) -> None:
        """Raise unless all tables are there."""
        inspector = inspect(connection)
        present = {*inspector.get_table_names(target.schema), *inspector.get_view_names(target.schema)}
        if missing := {table.name for table in self.declared.tables.tenant} - present:
            raise ConfigurationError(
                f"Tables are missing in the schema {target.schema!r}: {first_lines(missing)}. Add them, and use "
                "migrations: without them, tables are created only with the first tenant."
            )

    def in_steps(self, connection: Connection, target: MigrationTarget) -> None:
        """Create them in a transaction of its own."""
        with connection.begin():
            self(connection, target)


def make_shared_tables(connection: Connection, declared: Deployment) -> list[str]:
    """Create the missing shared tables and their schemas; return the names of the tables.

    It also creates the types and sequences with a real schema that tenant tables use.
    """
    tables = declared.tables
    inspector = inspect(connection)
    missing = [table for table in tables.shared if not inspector.has_table(table.name, table.schema)]
    schemas = {table.schema for table in missing} | {schema_of(named) for _, named in types_of(tables.tenant)}
    # IF NOT EXISTS would need the privilege to create a schema even where it exists.
    for schema in sorted(schema for schema in schemas - {declared.placeholder} if schema is not None):
        if not inspector.has_schema(schema):
            connection.execute(CreateSchema(schema))
    for metadata in {table.metadata for table in tables.shared + tables.tenant}:
        metadata.create_all(connection, tables=[table for table in missing if table.metadata is metadata])
    return sorted(table.fullname for table in missing)


def run_seed(connection: Connection, binder: Bound, seed: Seed, sessions: sessionmaker[TenantSession]) -> None:
    """Call *seed* with a session of the tenant, inside the caller's transaction."""
    with sessions(
        bind=connection, binder=binder, tenant=binder.known.tenant, join_transaction_mode="create_savepoint"
    ) as session:
        with ContainedExits("seed"):
            require_done("seed", seed(session))
        session.commit()
