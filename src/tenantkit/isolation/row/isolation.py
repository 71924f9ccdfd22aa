"""Row isolation: tenants in the tables of a common schema."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.schema import CreateSchema

from tenantkit.exceptions import ConfigurationError, InvalidTenantKeyError
from tenantkit.isolation import schemas
from tenantkit.isolation.base import Finding, TenantDatabases
from tenantkit.isolation.binding import Binding, RawSQL, bind
from tenantkit.isolation.roles import NO_ROW_ROLES
from tenantkit.isolation.row.declared import RowColumn
from tenantkit.isolation.row.exposure import exposures
from tenantkit.isolation.row.initial import copy_initial_rows
from tenantkit.isolation.row.policies import security_functions
from tenantkit.isolation.row.removal import CHUNK, chunks, remove_rows, restore_schema
from tenantkit.isolation.row.security import login_problem, problems
from tenantkit.isolation.target import MigrationTarget
from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.postgres.advisory_locks import PLACEMENT
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.tenant import MAIN_DATABASE, NewTenant, Placement, Tenant
from tenantkit.tenant import Isolation as Name

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MARK = "tenantkit rows"
"""The comment on a common schema."""
_HAS_TABLES = text(
    "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p'))"
)


_NOT_ADOPTED = "The tenant has rows in common tables, which are other tenants', too"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowIsolation:
    """Gives each tenant rows of the tables in one common schema of the main database."""

    name: str = Name.ROW
    shares_tables: bool = True
    databases: TenantDatabases | None = None
    placeholder: str | None
    raw_sql: RawSQL
    extra_schemas: tuple[str, ...]
    schema: str
    """The common schema."""
    grant_to: Collection[str]
    """The roles that sessions log in as: they do not own the tables."""
    is_guarded: bool
    """Whether the deployment guards its tenants by roles, which common tables do not support."""
    used: Callable[[], Collection[str | None]]
    """Returns the schemas that have another use."""
    row_column: RowColumn
    """The tenant column."""

    @property
    def column(self) -> TenantColumn:
        """The tenant column."""
        return self.row_column()

    def place(self, tenant: NewTenant) -> Placement:
        """Return the common schema."""
        self._require_no_guard()
        if self.schema in self.used():
            raise InvalidTenantKeyError(
                tenant.key, f"the schema {self.schema!r} has another use; give another rows_schema="
            )
        if tenant.database != MAIN_DATABASE:
            raise ConfigurationError(
                f"Row isolation does not support other databases than {MAIN_DATABASE!r} yet, but {tenant.database!r} "
                f"was chosen for {tenant.key!r}. Give the tenant isolation='schema', or another database."
            )
        return Placement(MAIN_DATABASE, self.schema)

    def bind(self, tenant: Tenant) -> Binding:
        """Return what a session needs to serve *tenant*.

        :raises ConfigurationError: if it would have to work as the tenant's role.
        """
        self._require_no_guard()
        return bind(
            tenant,
            placeholder=self.placeholder,
            raw_sql=self.raw_sql,
            extra_schemas=self.extra_schemas,
            column=self.column,
            value=self.column.value_of(tenant),
        )

    def targets(self, tenants: Iterable[Tenant]) -> Iterable[MigrationTarget]:
        """Return one for each common schema: a deployment may have had another."""
        for placement in dict.fromkeys(tenant.placement for tenant in tenants):
            yield MigrationTarget(
                placement=placement, others=self.extra_schemas, placeholder=self.placeholder, column=self.column
            )

    def obstacle_to_create(self, connection: Connection, placement: Placement) -> str | None:
        """Return what is in the way: a schema of that name that is not tenantkit's, or a login that policies bypass."""
        if schemas.read_mark(connection, placement.schema) not in {None, _MARK}:
            return f"the schema {placement.schema!r} exists, and is not tenantkit's"
        return login_problem(connection)

    def create(self, connection: Connection, tenant: Tenant) -> bool:
        """Make the common schema if it is not there; return whether it is empty, so that tables are to be made.

        :raises ConfigurationError: if row security does not hold for the login.
        """
        if problem := login_problem(connection):
            raise ConfigurationError(f"The tenant cannot be created: {problem}.")
        lock = PLACEMENT.format(schema=quote_literal(tenant.schema))
        shared = schemas.read_mark(connection, tenant.schema) is not None
        # A run that migrates the schema holds the lock.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{'_shared' if shared else ''}({lock})")
        if schemas.read_mark(connection, tenant.schema) is None:
            self._make_schema(connection, tenant.schema)
        has_tables = connection.execute(_HAS_TABLES, {"schema": quote_identifier(tenant.schema)}).scalar_one()
        return not has_tables

    def _make_schema(self, connection: Connection, schema: str) -> None:
        if not self.grant_to:
            raise ConfigurationError(
                "Row isolation needs grant_to=, the role that the application logs in as: sessions do not work as the "
                "role that owns the tables. Create one with CREATE ROLE app LOGIN."
            )
        connection.execute(CreateSchema(schema))
        connection.exec_driver_sql(f"COMMENT ON SCHEMA {quote_identifier(schema)} IS {quote_literal(_MARK)}")
        for each in security_functions(schema):
            connection.exec_driver_sql(each)
        # Sequences are common to all tenants: sessions may take the next number, but neither set nor read them.
        schemas.let_use_schema(connection, schema, self.grant_to, sequences="USAGE")

    def fill(self, connection: Connection, tenant: Tenant) -> None:
        """Write the rows with which each tenant begins."""
        copy_initial_rows(connection, tenant.schema, self.column, self.column.value_of(tenant))

    def obstacle_to_drop(self, connection: Connection, tenant: Tenant) -> str | None:  # noqa: ARG002 - the signature
        """Return ``None``: rows of other tenants do not refer to this tenant's."""
        return None

    def removal_steps(self, connection: Connection, tenant: Tenant) -> list[str]:  # noqa: ARG002 - the signature
        """Return the description of the removal."""
        return [f"remove the tenant's rows from the tables of the schema {tenant.schema!r}, {CHUNK:,} in a transaction"]

    def detachments(self, connection: Connection, tenant: Tenant) -> Sequence[Callable[[Connection], object]]:
        """Return what removes most of the tenant's rows, a chunk at a time."""
        return chunks(connection, tenant.schema, self.column, self.column.value_of(tenant))

    def drop(self, connection: Connection, tenant: Tenant) -> None:
        """Remove all rows of the tenant, also those of a restore that was killed."""
        schemas.drop_schema(connection, restore_schema(tenant.id))
        remove_rows(connection, tenant.schema, self.column, self.column.value_of(tenant))

    def schema_under(self, tenant: Tenant, new: NewTenant) -> str | None:  # noqa: ARG002 - the signature
        """Return ``None``: the common schema has the rows of others, too."""
        return None

    def obstacle_to_rename(self, connection: Connection, tenant: Tenant, schema: str) -> str | None:  # noqa: ARG002 - the signature
        """Return the reason: the schema has the rows of others, too."""
        return f"the schema {tenant.schema!r} has the rows of other tenants, too"

    def rename(self, connection: Connection, tenant: Tenant, schema: str) -> tuple[str, ...]:  # noqa: ARG002 - the signature
        """Do nothing: the common schema keeps its name."""
        return ()

    def obstacle_to_adopt(self, connection: Connection, schema: str, known: Collection[int]) -> str | None:  # noqa: ARG002 - the signature
        """Return the reason: it has rows in common tables."""
        return _NOT_ADOPTED

    def adopt(self, connection: Connection, tenant: Tenant) -> None:  # noqa: ARG002 - the signature
        """Refuse."""
        raise ConfigurationError(f"{_NOT_ADOPTED}.")

    def release(self, connection: Connection, tenant: Tenant) -> None:  # noqa: ARG002 - the signature
        """Refuse."""
        raise ConfigurationError(f"{_NOT_ADOPTED}.")

    def obstacle_to_swap(self, connection: Connection, tenant: Tenant, other: Tenant) -> str | None:  # noqa: ARG002 - the signature
        """Return the reason: it has rows in common tables."""
        return f"{tenant.key!r} has rows in common tables, which have those of other tenants, too"

    def take_over(self, connection: Connection, tenant: Tenant) -> None:  # noqa: ARG002 - the signature
        """Refuse."""
        raise ConfigurationError(f"{_NOT_ADOPTED}.")

    def inspect(self, connection: Connection, tenants: Collection[Tenant], known: Collection[int]) -> list[Finding]:  # noqa: ARG002 - the signature
        """Return what is wrong with the common tables: of the schema, and of its row security."""
        findings: list[Finding] = []
        for schema in sorted({tenant.schema for tenant in tenants}):
            if schemas.read_mark(connection, schema) != _MARK:
                findings.append(Finding(schema, "this common schema of tenants is missing, or lacks its comment", None))
            found = chain(problems(connection, schema, self.column), exposures(connection, schema))
            findings += [Finding(schema, problem, None) for problem in found]
        return findings

    def repair(self, connection: Connection, tenants: Collection[Tenant]) -> None:
        """Do nothing: no finding has a repair."""

    def _require_no_guard(self) -> None:
        if self.is_guarded:
            raise ConfigurationError(NO_ROW_ROLES)
