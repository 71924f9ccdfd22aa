"""A database for each tenant, on the server of the main database or of another named one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from tenantkit.databases.base import own_key, split_key
from tenantkit.exceptions import ConfigurationError, InvalidTenantKeyError
from tenantkit.isolation import schemas
from tenantkit.isolation.base import Finding, TenantDatabases
from tenantkit.isolation.binding import Binding
from tenantkit.isolation.database import catalog, templates
from tenantkit.isolation.relabel import relabel
from tenantkit.isolation.roles import closings, drop_role
from tenantkit.isolation.schema import SchemaIsolation
from tenantkit.isolation.target import MigrationTarget
from tenantkit.naming import MAX_IDENTIFIER_BYTES, schema_name
from tenantkit.postgres import blockers
from tenantkit.postgres.errors import sqlstate
from tenantkit.postgres.quoting import quote_identifier
from tenantkit.tenant import Isolation as Name
from tenantkit.tenant import NewTenant, Placement, Tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection


_NOT_ADOPTED = "The tenant has a database that was made for it, so it can only be dropped"


@dataclass(frozen=True, slots=True)
class DatabaseMaker:
    """Makes databases that only *grant_to*, besides the owner, may connect to."""

    prefix: Callable[[], str]
    """Returns the beginning of templates' names."""
    grant_to: Collection[str]

    def create(
        self, connection: Connection, tenant: Tenant, contents: str | None, fill: Callable[[Tenant], bool]
    ) -> None:
        """Make the database of *tenant*, by a template if there is one; one with its comment is dropped before."""
        self._drop_own(connection, tenant)
        name = _database_of(tenant.placement)
        if contents is not None:
            contents = f"{contents} {self.grant_to!r}"
        template = contents and templates.find_or_make(connection, self.prefix(), tenant, contents, fill)
        try:
            catalog.create(connection, name, tenant, template, self.grant_to)
        except DBAPIError as error:
            if template is None or sqlstate(error) not in templates.UNUSABLE:
                raise
            catalog.create(connection, name, tenant, None, self.grant_to)

    def is_template(self, connection: Connection) -> bool:
        """Return whether the schema in the database can be renamed."""
        return not templates.names_its_schema(connection)

    def drop(self, connection: Connection, tenant: Tenant) -> None:
        """Drop the database, and what an interrupted creation has left."""
        self._drop_own(connection, tenant)
        catalog.drop(connection, catalog.unfinished_name(tenant))

    def inspect(self, connection: Connection, registry: str, known: Collection[int]) -> list[Finding]:
        """Return the databases of tenants that are not in the registry; they may have rows that somebody needs."""
        return [
            Finding(
                f"database {name}",
                "its tenant is not in the registry; if its rows are not needed, execute DROP DATABASE "
                f"{quote_identifier(name)}",
                None,
            )
            for name in catalog.orphans(connection, registry, known)
        ]

    def _drop_own(self, connection: Connection, tenant: Tenant) -> None:
        name = _database_of(tenant.placement)
        if catalog.read_comment(connection, name) == catalog.mark_of(tenant):
            catalog.drop(connection, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseIsolation:
    """Gives each tenant a database of its own.

    Inside of it, the tables are in a schema as `SchemaIsolation` names it: so a statement that came to the database of
    another tenant would fail, and nothing in the contents differs from a tenant with a schema only.
    """

    name: str = Name.DATABASE
    shares_tables: bool = False
    inside: SchemaIsolation
    """What names and makes the schema inside of the database."""
    prefix: Callable[[], str]
    """Returns the text before the key in a database's name."""
    grant_to: Collection[str]
    """The roles that may connect to the database, besides its owner."""
    require_reach: Callable[[str], object]
    """Raises `ConfigurationError` unless there can be an engine for a database."""
    databases: TenantDatabases = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "databases", DatabaseMaker(self.prefix, self.grant_to))

    def place(self, tenant: NewTenant) -> Placement:
        """Return a database on the server of the one that was chosen, whose name no tenant before had.

        :raises InvalidTenantKeyError: if its name is longer than PostgreSQL's names can be.
        :raises ConfigurationError: if the server is not given by a URL.
        """
        inner = self.inside.place(tenant)
        name = schema_name(tenant.key, prefix=self.prefix(), number=tenant.number)
        if len(name.encode()) > MAX_IDENTIFIER_BYTES:
            raise InvalidTenantKeyError(
                tenant.key,
                f"the name of its database, {name!r}, is longer than {MAX_IDENTIFIER_BYTES} bytes: give the tenancy a "
                "shorter database_prefix=",
            )
        self.require_reach(key := own_key(inner.database, name))
        return Placement(key, inner.schema)

    def bind(self, tenant: Tenant) -> Binding:
        """Return what a session needs to serve *tenant*."""
        return self.inside.bind(tenant)

    def targets(self, tenants: Iterable[Tenant]) -> Iterable[MigrationTarget]:
        """Return one for each tenant."""
        return self.inside.targets(tenants)

    def obstacle_to_create(self, connection: Connection, placement: Placement) -> str | None:
        """Return what is in the way: a database of that name, or a login that may not create one."""
        name = _database_of(placement)
        if catalog.read_comment(connection, name) is not None:
            return f"the database {name!r} exists, and is not tenantkit's"
        problem = catalog.login_problem(connection, self.grant_to)
        return problem if problem or self.inside.roles is None else self.inside.roles.obstacle(connection)

    def create(self, connection: Connection, tenant: Tenant) -> bool:
        """Make the schema in the tenant's database, and return whether its tables are to be made.

        A copy of a template has them, in a schema that gets the tenant's name.
        """
        if tenant.schema == templates.SCHEMA:
            return replace(self.inside, roles=None, grant_to=self.grant_to).create(connection, tenant)
        if schemas.read_mark(connection, templates.SCHEMA) is None:
            return self.inside.create(connection, tenant)
        relabel(connection, templates.SCHEMA, tenant.schema, is_checked=True)  # see `is_template`
        schemas.set_mark(connection, tenant.schema, schemas.mark_of(tenant))
        if self.inside.roles is not None:
            self.inside.roles.admit(connection, [tenant])
        return False

    def fill(self, connection: Connection, tenant: Tenant) -> None:
        """Do nothing: revisions write into the tenant's own tables."""

    def obstacle_to_drop(self, connection: Connection, tenant: Tenant) -> str | None:
        """Return why the database cannot be removed: it lacks the tenant's comment, or has prepared transactions."""
        name, mark = _database_of(tenant.placement), catalog.mark_of(tenant)
        if catalog.read_comment(connection, name) not in {None, mark}:
            return f"the database {name!r} does not carry the comment {mark!r}"
        if prepared := blockers.find_prepared_in(connection, name):
            return blockers.describe_prepared(prepared, f"are in its database {name!r}")
        return None

    def removal_steps(self, connection: Connection, tenant: Tenant) -> list[str]:  # noqa: ARG002 - the signature
        """Return the description of the removal."""
        return [f"end the connections to the database {_database_of(tenant.placement)!r}, and drop it"]

    def detachments(self, connection: Connection, tenant: Tenant) -> Sequence[Callable[[Connection], object]]:
        """Return what ends the sessions of the tenant's login; no other database depends on its own."""
        return closings(connection, tenant)

    def drop(self, connection: Connection, tenant: Tenant) -> None:
        """Remove the tenant's role, if it has one; the schema is dropped with its database."""
        drop_role(connection, tenant)

    def schema_under(self, tenant: Tenant, new: NewTenant) -> str | None:  # noqa: ARG002 - the signature
        """Return ``None``: the tenant's database keeps its name, and so does the schema in it."""
        return None

    def obstacle_to_rename(self, connection: Connection, tenant: Tenant, schema: str) -> str | None:
        """Return why the schema in the tenant's database cannot be renamed."""
        return self.inside.obstacle_to_rename(connection, tenant, schema)

    def rename(self, connection: Connection, tenant: Tenant, schema: str) -> tuple[str, ...]:
        """Rename the schema in the tenant's database."""
        return self.inside.rename(connection, tenant, schema)

    def obstacle_to_adopt(self, connection: Connection, schema: str, known: Collection[int]) -> str | None:  # noqa: ARG002 - the signature
        """Return the reason: an existing schema is in a database with others."""
        return _NOT_ADOPTED

    def adopt(self, connection: Connection, tenant: Tenant) -> None:  # noqa: ARG002 - the signature
        """Refuse."""
        raise ConfigurationError(f"{_NOT_ADOPTED}.")

    def release(self, connection: Connection, tenant: Tenant) -> None:  # noqa: ARG002 - the signature
        """Refuse."""
        raise ConfigurationError(f"{_NOT_ADOPTED}.")

    def obstacle_to_swap(self, connection: Connection, tenant: Tenant, other: Tenant) -> str | None:
        """Return why the tenant's database cannot become that of *other*."""
        name, marks = _database_of(tenant.placement), [catalog.mark_of(each) for each in (tenant, other)]
        if catalog.read_comment(connection, name) not in marks:
            return f"the database {name!r} does not carry the comment {marks[0]!r}"
        return self.inside.obstacle_to_swap(connection, tenant, other)

    def take_over(self, connection: Connection, tenant: Tenant) -> None:
        """Mark the database, and the schema in it, as the tenant's own."""
        catalog.set_comment(connection, _database_of(tenant.placement), tenant)
        self.inside.take_over(connection, tenant)

    def inspect(self, connection: Connection, tenants: Collection[Tenant], known: Collection[int]) -> list[Finding]:
        """Return what is wrong inside of the tenant's database."""
        return self.inside.inspect(connection, tenants, known) if tenants else []

    def repair(self, connection: Connection, tenants: Collection[Tenant]) -> None:
        """Repair what is wrong inside of the tenant's database."""
        self.inside.repair(connection, tenants)


def _database_of(placement: Placement) -> str:
    _, database = split_key(placement.database)
    assert database is not None  # noqa: S101 - `place` has made it
    return database
