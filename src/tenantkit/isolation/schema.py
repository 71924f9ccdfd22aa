"""A schema for each tenant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tenantkit.exceptions import ConfigurationError, InvalidTenantKeyError
from tenantkit.isolation import schemas
from tenantkit.isolation.base import Finding, TenantDatabases
from tenantkit.isolation.binding import Binding, RawSQL, bind
from tenantkit.isolation.fence import fenced_schemas, take_down
from tenantkit.isolation.relabel import relabel
from tenantkit.isolation.roles import SETTING, TenantRoles, closings, drop_role, role_of
from tenantkit.isolation.row.declared import RowColumn
from tenantkit.isolation.target import MigrationTarget
from tenantkit.naming import first_lines, schema_name
from tenantkit.postgres import blockers
from tenantkit.status import WRITABLE, Status
from tenantkit.tenant import Isolation as Name
from tenantkit.tenant import NewTenant, Placement, Tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaIsolation:
    """Gives each tenant a schema of its own, in the database that was chosen for it."""

    name: str = Name.SCHEMA
    shares_tables: bool = False
    databases: TenantDatabases | None = None
    placeholder: str | None
    raw_sql: RawSQL
    extra_schemas: tuple[str, ...]
    prefix: str
    """What a schema's name puts before the key."""
    grant_to: Collection[str]
    """The roles that may use the tables, where they do not own them."""
    roles: TenantRoles | None
    """The roles of tenants, if each transaction works as its tenant's."""
    used: Callable[[], Collection[str | None]]
    """Returns the schemas that no tenant may have."""
    row_column: RowColumn
    """The tenant column, which models may declare."""

    def place(self, tenant: NewTenant) -> Placement:
        """Return the tenant's database, and a schema whose name no tenant before had."""
        schema = schema_name(tenant.key, prefix=self.prefix, number=tenant.number)
        if schema in self.used():
            raise InvalidTenantKeyError(tenant.key, f"the schema {schema!r} has another use")
        return Placement(tenant.database, schema)

    def bind(self, tenant: Tenant) -> Binding:
        """Return what a session needs to serve *tenant*."""
        return bind(
            tenant,
            placeholder=self.placeholder,
            raw_sql=self.raw_sql,
            extra_schemas=self.extra_schemas,
            settings=() if self.roles is None else ((SETTING, role_of(tenant)),),
            value=None if self.row_column.name is None else self.row_column().value_of(tenant),
            login=None if self.roles is None else self.roles.login_of(tenant),
        )

    def targets(self, tenants: Iterable[Tenant]) -> Iterable[MigrationTarget]:
        """Return one for each tenant."""
        for tenant in tenants:
            yield MigrationTarget(placement=tenant.placement, others=self.extra_schemas, placeholder=self.placeholder)

    def obstacle_to_create(self, connection: Connection, placement: Placement) -> str | None:
        """Return what is in the way: a schema of that name, or a login that cannot make the tenant's role."""
        if schemas.read_mark(connection, placement.schema) is not None:
            return f"the schema {placement.schema!r} exists, and is not tenantkit's"
        return None if self.roles is None else self.roles.obstacle_in(connection)

    def create(self, connection: Connection, tenant: Tenant) -> bool:
        """Make the empty schema, and return True; one with the tenant's mark is removed before."""
        if schemas.read_mark(connection, tenant.schema) == schemas.mark_of(tenant):
            schemas.drop_schema(connection, tenant.schema)
        schemas.make_schema(connection, tenant)
        if self.roles is None:
            schemas.let_use_schema(connection, tenant.schema, self.grant_to)
        else:
            self.roles.make(connection, tenant)
        return True

    def fill(self, connection: Connection, tenant: Tenant) -> None:
        """Do nothing: revisions write into the tenant's own tables."""

    def obstacle_to_drop(self, connection: Connection, tenant: Tenant) -> str | None:
        """Return why the schema cannot be removed: it lacks the tenant's mark, or other schemas depend on it."""
        if schemas.read_mark(connection, tenant.schema) not in {None, schemas.mark_of(tenant)}:
            return f"the schema {tenant.schema!r} does not carry the comment {schemas.mark_of(tenant)!r}"
        if (misnamed := self._misnamed(connection, tenant)) is not None:
            return misnamed
        if others := schemas.dependants(connection, tenant.schema):
            return f"other schemas depend on it: {first_lines(others)}; drop these first"
        if prepared := blockers.find_holders(connection, tenant.schema, referred=True).prepared:
            return blockers.describe_prepared(prepared, "have locked its tables, or shared ones that it refers to")
        return None

    def removal_steps(self, connection: Connection, tenant: Tenant) -> list[str]:
        """Return descriptions of the transactions of a removal."""
        keys = schemas.keys_to_others(connection, tenant.schema)
        tables = sum(map(len, schemas.table_chunks(connection, tenant.schema)))
        return [
            *(f"drop the foreign key {name} of {schema}.{table} to another schema" for schema, table, name in keys),
            f"drop {tables} tables of the schema {tenant.schema!r}, {schemas.CHUNK} in a transaction",
            f"drop the schema {tenant.schema!r} with all else in it",
        ]

    def detachments(self, connection: Connection, tenant: Tenant) -> Sequence[Callable[[Connection], object]]:
        """Return what ends the sessions of the tenant's login, drops its foreign keys to other schemas, then tables.

        Dropping a key locks the table it points to exclusively. Left to ``DROP SCHEMA``, a shared table would be closed
        to every tenant for as long as that takes, and the locks of all tables might not fit into the server's memory.
        """
        keys = schemas.keys_to_others(connection, tenant.schema)
        chunks = schemas.table_chunks(connection, tenant.schema)
        return [
            *closings(connection, tenant),
            *(partial(schemas.drop_key, key=key) for key in keys),
            *(partial(schemas.drop_tables, schema=tenant.schema, tables=tables) for tables in chunks),
        ]

    def drop(self, connection: Connection, tenant: Tenant) -> None:
        """Remove the schema and all in it, if it is there, and the tenant's role."""
        schemas.drop_schema(connection, tenant.schema)
        drop_role(connection, tenant)

    def schema_under(self, tenant: Tenant, new: NewTenant) -> str | None:  # noqa: ARG002 - the signature
        """Return the name of the schema of a new tenant with that key."""
        return self.place(new).schema

    def obstacle_to_rename(self, connection: Connection, tenant: Tenant, schema: str) -> str | None:
        """Return why the schema cannot be renamed, besides texts that name it: its mark, or *schema*, which exists.

        Another schema with the mark is a copy. One with the name of a table that another schema of the path has, too,
        would leave that one to the text of sessions that have begun before.
        """
        names = schemas.names_of(connection, tenant)
        if names == [schema]:
            return None  # by a process that was interrupted
        if tenant.schema not in names:
            return f"the schema {tenant.schema!r} {self._problem(connection, tenant)}"
        if copies := [name for name in names if name != tenant.schema]:
            return f"{first_lines(map(repr, copies))} has the comment of the tenant's schema, too: remove it there"
        if schemas.read_mark(connection, schema) is not None:
            return f"the schema {schema!r} exists"
        if hidden := schemas.tables_in_both(connection, tenant.schema, self.extra_schemas):
            return (
                f"{first_lines(hidden)} has the name of a table of the tenant: text of sessions that began before "
                "would find it after the rename. Rename the tenant without its schema"
            )
        return None

    def rename(self, connection: Connection, tenant: Tenant, schema: str) -> tuple[str, ...]:
        """Give the schema with the tenant's mark the name *schema*, if it has another one, and is no copy."""
        names = schemas.names_of(connection, tenant)
        sources = [tenant.schema] if tenant.schema in names else names
        return relabel(connection, sources[0], schema) if schema not in names and len(sources) == 1 else ()

    def obstacle_to_adopt(self, connection: Connection, schema: str, known: Collection[int]) -> str | None:
        """Return why an existing *schema* cannot become a tenant's: its comment, or roles that may not use it."""
        mark = schemas.read_mark(connection, schema)
        if mark is None:
            return "it does not exist"
        marked = schemas.marked_id(mark)
        if mark and (marked is None or marked in known):
            return f"it has the comment {mark!r}, so it may be another application's: remove the comment if it is not"
        if (obstacle := schemas.obstacle_to_own(connection, schema)) is not None:
            return obstacle
        if self.roles is not None:
            return self.roles.obstacle_in(connection)
        return schemas.obstacle_to_use(connection, schema, self.grant_to)

    def adopt(self, connection: Connection, tenant: Tenant) -> None:
        """Mark the existing schema as the tenant's, and let roles use later tables; with ``guard=``, make its role."""
        schemas.set_mark(connection, tenant.schema, schemas.mark_of(tenant))
        if self.roles is None:
            schemas.let_use_schema(connection, tenant.schema, self.grant_to)
        else:
            self.roles.admit(connection, [tenant])

    def release(self, connection: Connection, tenant: Tenant) -> None:
        """Remove the mark, a fence and the tenant's role; what the role owns becomes the login's.

        :raises ConfigurationError: if an interrupted rename has left the schema under another name.
        """
        if (misnamed := self._misnamed(connection, tenant)) is not None:
            raise ConfigurationError(f"The tenant {tenant.key!r} cannot be released: {misnamed}.")
        if schemas.read_mark(connection, tenant.schema) == schemas.mark_of(tenant):
            schemas.set_mark(connection, tenant.schema, None)
            take_down(connection, tenant.schema)
        drop_role(connection, tenant, keeps_objects=True)

    def obstacle_to_swap(self, connection: Connection, tenant: Tenant, other: Tenant) -> str | None:
        """Return why the tenant's schema cannot become that of *other*: its comment, or what depends on it."""
        if self.roles is not None:
            return "guard= gives each tenant a role, which has no privileges in the other's tables"
        if self.row_column.name is not None:
            return f"its rows have its own value in the column {self.row_column.name!r}"
        marks = [schemas.mark_of(each) for each in (tenant, other)]
        if schemas.read_mark(connection, tenant.schema) not in marks:
            return f"the schema {tenant.schema!r} does not carry the comment {marks[0]!r}"
        if others := schemas.dependants(connection, tenant.schema):
            where = f"the schema {tenant.schema!r}, and would go on with its tables"
            return f"other schemas depend on {where}: {first_lines(others)}; drop these first"
        return None

    def take_over(self, connection: Connection, tenant: Tenant) -> None:
        """Mark the schema as the tenant's own."""
        schemas.set_mark(connection, tenant.schema, schemas.mark_of(tenant))

    def inspect(self, connection: Connection, tenants: Collection[Tenant], known: Collection[int]) -> list[Finding]:
        """Return schemas that are missing or not marked, those whose tenant does not exist, and what roles lack."""
        marked = schemas.read_marks(connection)
        real = {tenant.id: tenant.schema for tenant in tenants if marked.get(tenant.schema) == tenant.id}
        return [
            *(self._find(connection, tenant) for tenant in tenants if marked.get(tenant.schema) != tenant.id),
            *(
                Finding(schema, "its tenant is not in the registry", None)
                for schema, tenant_id in sorted(marked.items())
                if tenant_id not in known
            ),
            *(
                Finding(schema, f"it has the comment of the schema {real[tenant_id]!r}, so it is a copy", None)
                for schema, tenant_id in sorted(marked.items())
                if real.get(tenant_id, schema) != schema
            ),
            *_inspect_fences(connection, tenants),
            *([] if self.roles is None else self.roles.inspect(connection, tenants, known)),
        ]

    def repair(self, connection: Connection, tenants: Collection[Tenant]) -> None:
        """Repair the roles of *tenants*."""
        if self.roles is not None:
            self.roles.repair(connection, tenants)

    def _find(self, connection: Connection, tenant: Tenant) -> Finding:
        problem, names = self._problem(connection, tenant), schemas.names_of(connection, tenant)
        if schemas.read_mark(connection, tenant.schema) is None and len(names) == 1:
            return Finding(
                tenant.key,
                f"its schema is named {names[0]!r}, as an interrupted rename has left it",
                f"name it {tenant.schema!r} again",
            )
        return Finding(tenant.key, f"its schema {tenant.schema!r} {problem}", None)

    def _misnamed(self, connection: Connection, tenant: Tenant) -> str | None:
        """Return under which name an interrupted rename has left the schema, if it has."""
        names = schemas.names_of(connection, tenant)
        if not names or schemas.read_mark(connection, tenant.schema) is not None:
            return None
        return (
            f"its schema is named {names[0]!r}, as an interrupted rename has left it; run 'tenantkit doctor --repair'"
        )

    def _problem(self, connection: Connection, tenant: Tenant) -> str:
        if schemas.read_mark(connection, tenant.schema) is None:
            return "does not exist"
        return f"lacks the comment {schemas.mark_of(tenant)!r}"


def _inspect_fences(connection: Connection, tenants: Collection[Tenant]) -> Iterator[Finding]:
    """Yield the tenants whose tables are fenced."""
    fenced = fenced_schemas(connection) if tenants else ()
    for tenant in tenants:
        if tenant.schema in fenced and tenant.status in WRITABLE:
            yield Finding(tenant.key, "its tables refuse writes, as former tables of a tenant do", "let it write again")
        elif tenant.schema in fenced and tenant.status is Status.SUSPENDED:
            problem = (
                "it has the former tables of a tenant, which refuse writes; drop it if they are not needed any more"
            )
            yield Finding(tenant.key, problem, None)
