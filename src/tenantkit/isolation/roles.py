"""Roles of tenants: each transaction of a tenant's session works as the tenant's own role.

Such a role may use its tenant's schema, and whatever was granted to the group of all these roles. Either the logins of
the application are members of it, so that they can take it on by SET ROLE, or connections log in as it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tenantkit.databases.logins import Login, Secret
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.isolation import schemas
from tenantkit.isolation.base import Finding
from tenantkit.isolation.role_catalog import (
    LOGIN,
    Privileges,
    closed_database,
    definers,
    end_sessions,
    mark_of,
    missing,
    open_schemas,
    orphans,
    read_mark,
    read_privileges,
    verifier,
)
from tenantkit.postgres.errors import reason
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.tenant import Isolation

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.databases.base import Databases
    from tenantkit.tenant import Tenant

SETTING = "role"
"""The setting of a transaction that has the role's name."""

Guard = Literal["none", "role", "login"]
"""What else than its path keeps a transaction of a tenant from the schemas of others.

``role``: it works as a role of the tenant's own, which has no privileges in other schemas; the transactions of tenants
with a database of their own work as the login of the application. ``login``: so do all connections of the tenant's
sessions, which log in as that role, so that SQL cannot leave it. ``none``: all have the login of the application.
"""

NO_ROW_ROLES = (
    "guard= does not hold in common tables, on which all roles have the same privileges; policies separate their "
    "tenants. Give the tenants isolation='schema', or leave out guard=."
)

_SUBJECT = "roles of tenants"
_SHORTEST_SECRET = 32


def tenant_roles(
    databases: Databases,
    guard: Guard,
    grant_to: tuple[str, ...],
    group: str | None,
    secret: str | Sequence[str] | None,
    isolation: str,
) -> TenantRoles | None:
    """Return the roles of the tenants of a deployment, if it has any.

    :param isolation: of new tenants.
    :raises ConfigurationError: if the options contradict each other.
    """
    if secret is not None and guard != "login":
        raise ConfigurationError("guard_secret= needs guard='login', which makes the logins of tenants.")
    if guard == "none":
        if group is not None:
            raise ConfigurationError(f"guard_group={group!r} needs guard='role' or 'login', which make tenants' roles.")
        return None
    if isolation == Isolation.ROW:
        raise ConfigurationError(NO_ROW_ROLES)
    return TenantRoles(databases, grant_to, group, _secret(secret) if guard == "login" else None)


def _secret(given: str | Sequence[str] | None) -> Secret:
    values = (given,) if isinstance(given, str) else tuple(given or ())
    if not values or any(len(each) < _SHORTEST_SECRET for each in values):
        raise ConfigurationError(
            "guard='login' needs guard_secret=, from which the passwords of tenants' logins are derived: a random text "
            f"of at least {_SHORTEST_SECRET} characters, the same in all processes, or a list of such texts with the "
            "newest first. Make one by python -c 'import secrets; print(secrets.token_urlsafe(32))'."
        )
    return Secret(values)


def role_of(tenant: Tenant) -> str:
    """Return the name of a tenant's role, which no role for another registry on the same server has."""
    return f"tenantkit_{tenant.registry[:8]}_{tenant.id}"


def closings(connection: Connection, tenant: Tenant) -> list[Callable[[Connection], object]]:
    """Return what ends the sessions that have logged in as the role of *tenant*, each in a transaction of its own."""
    if not _has_role(connection, tenant):
        return []
    name = role_of(tenant)
    return [
        lambda connection: connection.exec_driver_sql(f"ALTER ROLE {quote_identifier(name)} NOLOGIN"),
        lambda connection: end_sessions(connection, name),
    ]


def drop_role(connection: Connection, tenant: Tenant, *, keeps_objects: bool = False) -> None:
    """Remove the role of *tenant*, if it has one, with what it owns, such as large objects.

    :param keeps_objects: make them the current role's instead.
    """
    if _has_role(connection, tenant):
        role = quote_identifier(role_of(tenant))
        if keeps_objects:
            connection.exec_driver_sql(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def _has_role(connection: Connection, tenant: Tenant) -> bool:
    return read_mark(connection, role_of(tenant)) == mark_of(tenant)


@dataclass(frozen=True, slots=True)
class TenantRoles:
    """Makes the roles of tenants, and finds what they lack."""

    databases: Databases
    """The databases that roles log in to."""
    members: tuple[str, ...]
    """The logins of the application, which take the roles on if these do not log in."""
    group: str | None
    """The role whose privileges every tenant's role has."""
    secret: Secret | None
    """The secret of their passwords, if connections log in as these roles."""

    def login_of(self, tenant: Tenant) -> Login | None:
        """Return the login of *tenant*, if connections log in as its role."""
        return None if self.secret is None else Login(role_of(tenant), self.secret)

    def obstacle(self, connection: Connection) -> str | None:
        """Return why the login of *connection* cannot make roles."""
        login = connection.execute(LOGIN).one()
        if not login.may_create:
            return (
                f"the login {login.name!r} may not create roles of tenants, which guard= needs; as a superuser, "
                f"execute ALTER ROLE {quote_identifier(login.name)} CREATEROLE"
            )
        if (absent := missing(connection, [*self.members, *([self.group] if self.group else ())])) is not None:
            return f"grant_to= or guard_group= names the role {absent!r}, which does not exist; create it"
        return None

    def obstacle_in(self, connection: Connection) -> str | None:
        """Return why there can be no roles of tenants in the database of *connection*."""
        if (obstacle := self.obstacle(connection)) is not None:
            return obstacle
        if self.secret is None or (database := closed_database(connection, self.group)) is None:
            return None
        to = "PUBLIC" if self.group is None else quote_identifier(self.group)
        return (
            f"the logins of tenants may not connect to the database {database}; as its owner, execute GRANT CONNECT ON "
            f"DATABASE {database} TO {to}"
        )

    def make(self, connection: Connection, tenant: Tenant) -> None:
        """Make the role of *tenant*, and give it its privileges, also on what the current login will create.

        :raises ConfigurationError: if there is such a role, and it is not tenantkit's.
        """
        name = role_of(tenant)
        role, mark, login = quote_identifier(name), read_mark(connection, name), self.login_of(tenant)
        if mark not in {None, mark_of(tenant)}:
            raise ConfigurationError(f"The role {name!r} exists, and is not tenantkit's: rename or drop it")
        how = "NOLOGIN" if login is None else f"LOGIN PASSWORD {quote_literal(verifier(connection, login))}"
        connection.exec_driver_sql(f"{'CREATE' if mark is None else 'ALTER'} ROLE {role} {how}")
        if mark is None:
            connection.exec_driver_sql(f"COMMENT ON ROLE {role} IS {quote_literal(mark_of(tenant))}")
        connection.exec_driver_sql("; ".join(self._memberships(connection, name)))
        schemas.let_use_schema(connection, tenant.schema, [name])
        if login is not None:
            self._let_connect(connection, name)

    def admit(self, connection: Connection, tenants: Collection[Tenant]) -> None:
        """Make the roles of *tenants*, and let them use what their schemas have already."""
        for tenant in tenants:
            self.make(connection, tenant)
        for tenant, row in self._read(connection, tenants):
            role = quote_identifier(role_of(tenant))
            for member, is_revocable in row.insiders or () if self.secret is not None else ():
                if is_revocable:
                    connection.exec_driver_sql(f"REVOKE {role} FROM {quote_identifier(member)}")
            if powers := row.removable_powers:
                connection.exec_driver_sql(f"ALTER ROLE {role} {' '.join(f'NO{power}' for power in powers)}")
            if row.is_limited:
                connection.exec_driver_sql(f"ALTER ROLE {role} CONNECTION LIMIT -1 VALID UNTIL 'infinity'")
            schemas.let_use(connection, [name for name, is_own in row.closed or () if is_own], role_of(tenant))

    def inspect(self, connection: Connection, tenants: Collection[Tenant], known: Collection[int]) -> list[Finding]:
        """Return what the roles of *tenants* lack or have too much, and roles that have no tenant.

        :param known: the ids of all tenants.
        """
        find_obstacle = self.obstacle_in if tenants else self.obstacle
        if (obstacle := find_obstacle(connection)) is not None:
            return [Finding(_SUBJECT, obstacle, None)]
        return [
            *(
                Finding(tenant.key, f"its role {role_of(tenant)!r} {problem}", repair)
                for tenant, row in self._read(connection, tenants)
                for problem, repair in self._problems(row, tenant)
            ),
            *(Finding(_SUBJECT, problem, None) for problem in self._problems_of_all(connection, tenants, known)),
        ]

    def repair(self, connection: Connection, tenants: Collection[Tenant]) -> None:
        """Make the roles that *tenants* lack, and give roles the privileges that they lack."""
        if self.obstacle_in(connection) is not None:
            return
        found = self._read(connection, tenants)
        self.admit(
            connection, [tenant for tenant, row in found if any(repair for _, repair in self._problems(row, tenant))]
        )

    def _problems_of_all(
        self, connection: Connection, tenants: Collection[Tenant], known: Collection[int]
    ) -> Iterator[str]:
        """Yield the problems that a person must solve."""
        for registry in sorted({tenant.registry for tenant in tenants}):
            for name in orphans(connection, registry, known):
                yield (
                    f"the tenant of the role {name!r} is not in the registry; execute DROP OWNED BY "
                    f"{quote_identifier(name)} in the database that it was in, and then DROP ROLE"
                )
        if len(tenants) < 2:  # noqa: PLR2004 - there is no other one to be reached
            return
        roles = [role_of(tenant) for tenant in tenants]
        for schema in open_schemas(connection, roles):
            yield (
                f"they may create objects in the schema {schema}, where others may find these; REVOKE CREATE ON SCHEMA "
                f"{schema} FROM PUBLIC"
            )
        if self.secret is not None:
            for function in definers(connection, roles, [tenant.schema for tenant in tenants]):
                yield (
                    f"they may execute {function}, which has the privileges of its owner in the schemas of tenants "
                    f"(SECURITY DEFINER); REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC, or give it another owner"
                )

    def _problems(self, row: Privileges, tenant: Tenant) -> Iterator[tuple[str, str | None]]:
        """Yield the problems of a tenant's role, each with its repair."""
        yield from row.problems()
        if row.can_be_tried and (refusal := self._try_login(tenant)) is not None:
            yield refusal

    def _try_login(self, tenant: Tenant) -> tuple[str, str | None] | None:
        """Return the problem of the login of *tenant*, with its repair."""
        if self.secret is None:
            return None
        engine = self.databases.engine(tenant.placement.database, Login(role_of(tenant), self.secret.newest))
        try:
            engine.connect().close()
        except ConfigurationError as error:
            cause = as_clause(reason(error.__cause__ or error))
            return f"cannot log in with the password of guard_secret=: {cause}", "set the password"
        except DBAPIError as error:
            return f"cannot log in: {as_clause(reason(error))}", None
        finally:
            engine.dispose()
        return None

    def _let_connect(self, connection: Connection, name: str) -> None:
        may_connect = text("SELECT has_database_privilege(:role, current_database(), 'CONNECT')")
        if not connection.execute(may_connect, {"role": name}).scalar_one():
            database = quote_identifier(connection.exec_driver_sql("SELECT current_database()").scalar_one())
            connection.exec_driver_sql(f"GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {quote_identifier(name)}")

    def _memberships(self, connection: Connection, name: str) -> Iterator[str]:
        role = quote_identifier(name)
        login = connection.execute(LOGIN).one().name
        # Before PostgreSQL 16, a login that inherits has the privileges of all roles that it is a member of.
        can_choose = (connection.dialect.server_version_info or ()) >= (16,)
        yield f"GRANT {role} TO CURRENT_USER{' WITH INHERIT TRUE, SET TRUE' if can_choose else ''}"
        for member in self.members if self.secret is None else ():
            if member != login:
                options = " WITH INHERIT FALSE, SET TRUE" if can_choose else ""
                yield f"GRANT {role} TO {quote_identifier(member)}{options}"
        if self.group is not None:
            yield f"GRANT {quote_identifier(self.group)} TO {role}"

    def _read(self, connection: Connection, tenants: Collection[Tenant]) -> list[tuple[Tenant, Privileges]]:
        roles = {tenant: role_of(tenant) for tenant in tenants}
        return read_privileges(connection, roles, self.members, self.group, logs_in=self.secret is not None)
