"""Roles of tenants: each transaction of a tenant's session works as the tenant's own role.

Such a role cannot log in. It may use its tenant's schema, and whatever was granted to the group of all these roles. The
logins of the application are members of it, so that they can take it on by SET ROLE.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import text

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation import schemas
from tenantkit.isolation.base import Finding
from tenantkit.naming import first_lines
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.tenant import Isolation

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.tenant import Tenant

SETTING = "role"
"""The setting of a transaction that has the role's name."""

Guard = Literal["none", "role"]
"""What else than its path keeps a transaction of a tenant from the schemas of others.

``role``: it works as a role of the tenant's own, which has no privileges in other schemas; the transactions of tenants
with a database of their own work as the login of the application. ``none``: all do.
"""

NO_ROW_ROLES = (
    "guard='role' does not hold in common tables, on which all roles have the same privileges; policies separate their "
    "tenants. Give the tenants isolation='schema', or leave out guard=."
)

_LOGIN = text("SELECT rolname, rolsuper OR rolcreaterole AS may_create FROM pg_roles WHERE rolname = current_user")
_ABSENT = text("SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regrole(quote_ident(name)) IS NULL")
_MARK = text("SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = :name")
_PRIVILEGES = text(
    """
    SELECT nspname AS schema, role.oid IS NOT NULL AS exists, shobj_description(role.oid, 'pg_authid') AS mark,
        ARRAY(SELECT member FROM unnest(CAST(:members AS text[])) AS member
            WHERE NOT pg_has_role(member, role.oid, 'MEMBER')) AS outsiders,
        pg_has_role(role.oid, to_regrole(quote_ident(CAST(:group AS text)))::oid, 'USAGE') IS NOT FALSE AS is_in_group,
        has_schema_privilege(role.oid, pg_namespace.oid, 'USAGE') AND (
            SELECT count(DISTINCT defaclobjtype) FROM pg_default_acl, aclexplode(defaclacl) AS granted
            WHERE defaclnamespace = pg_namespace.oid AND defaclrole = to_regrole(quote_ident(current_user))
            AND granted.grantee = role.oid AND defaclobjtype IN ('r', 'S')
        ) = 2 AS has_defaults,
        (SELECT json_agg(json_build_array(
                CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || format('%I.%I', nspname, relname),
                pg_has_role(relowner, 'USAGE')
            ) ORDER BY relname) FROM pg_class WHERE relnamespace = pg_namespace.oid AND CASE
                WHEN relkind = 'S' THEN NOT has_sequence_privilege(role.oid, pg_class.oid, 'USAGE, SELECT, UPDATE')
                WHEN relkind IN ('r', 'p', 'v', 'm', 'f')
                THEN NOT has_any_column_privilege(role.oid, pg_class.oid, 'SELECT, INSERT, UPDATE')
            END) AS closed
    FROM unnest(CAST(:schemas AS text[]), CAST(:roles AS text[])) AS given (schema, role)
    JOIN pg_namespace ON nspname = given.schema
    LEFT JOIN pg_roles AS role ON rolname = given.role
    """
)


def tenant_roles(guard: Guard, grant_to: tuple[str, ...], group: str | None, isolation: str) -> TenantRoles | None:
    """Return the roles of the tenants of a deployment, if it has any.

    :param isolation: of new tenants.
    :raises ConfigurationError: if the options contradict each other.
    """
    if guard == "none":
        if group is not None:
            raise ConfigurationError(f"guard_group={group!r} needs guard='role', which makes the roles of tenants.")
        return None
    if isolation == Isolation.ROW:
        raise ConfigurationError(NO_ROW_ROLES)
    return TenantRoles(grant_to, group)


def role_of(tenant: Tenant) -> str:
    """Return the name of a tenant's role, which no role for another registry on the same server has."""
    return f"tenantkit_{tenant.registry[:8]}_{tenant.id}"


def drop_role(connection: Connection, tenant: Tenant) -> None:
    """Remove the role of *tenant*, if it has one."""
    name = role_of(tenant)
    if _read_mark(connection, name) == _mark_of(tenant):
        role = quote_identifier(name)
        connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")  # it may own large objects


@dataclass(frozen=True, slots=True)
class TenantRoles:
    """Makes the roles of tenants, and finds what they lack."""

    members: tuple[str, ...]
    """The logins of the application; the login that creates tenants is always one."""
    group: str | None
    """The role whose privileges every tenant's role has."""

    def obstacle(self, connection: Connection) -> str | None:
        """Return why the login of *connection* cannot make roles."""
        login = connection.execute(_LOGIN).one()
        if not login.may_create:
            return (
                f"the login {login.rolname!r} may not create roles of tenants, which guard='role' needs; as a "
                f"superuser, execute ALTER ROLE {quote_identifier(login.rolname)} CREATEROLE"
            )
        names = [*self.members, *([self.group] if self.group else ())]
        if absent := connection.execute(_ABSENT, {"names": names}).scalars().first():
            return f"grant_to= or guard_group= names the role {absent!r}, which does not exist; create it"
        return None

    def make(self, connection: Connection, tenant: Tenant) -> None:
        """Make the role of *tenant*, and give it its privileges, also on what the current login will create.

        :raises ConfigurationError: if there is such a role, and it is not tenantkit's.
        """
        name = role_of(tenant)
        mark = _read_mark(connection, name)
        if mark not in {None, _mark_of(tenant)}:
            raise ConfigurationError(f"The role {name!r} exists, and is not tenantkit's: rename or drop it")
        if mark is None:
            role = quote_identifier(name)
            comment = quote_literal(_mark_of(tenant))
            connection.exec_driver_sql(f"CREATE ROLE {role} NOLOGIN; COMMENT ON ROLE {role} IS {comment}")
        connection.exec_driver_sql("; ".join(self._memberships(connection, name)))
        schemas.let_use_schema(connection, tenant.schema, [name])

    def inspect(self, connection: Connection, tenants: Collection[Tenant]) -> list[Finding]:
        """Return what the roles of *tenants* lack."""
        obstacle = self.obstacle(connection)
        if obstacle is not None:
            return [Finding("roles of tenants", obstacle, None)] if tenants else []
        return [
            Finding(tenant.key, f"its role {role_of(tenant)!r} {problem}", repair)
            for tenant, row in self._read(connection, tenants)
            for problem, repair in _problems(row, tenant)
        ]

    def repair(self, connection: Connection, tenants: Collection[Tenant]) -> None:
        """Make the roles that *tenants* lack, and give roles the privileges that they lack."""
        if self.obstacle(connection) is not None:
            return
        found = self._read(connection, tenants)
        lacking = [tenant for tenant, row in found if any(repair for _, repair in _problems(row, tenant))]
        for tenant in lacking:
            self.make(connection, tenant)
        for tenant, row in self._read(connection, lacking):
            schemas.let_use(connection, [name for name, is_own in row.closed or () if is_own], role_of(tenant))

    def _memberships(self, connection: Connection, name: str) -> Iterator[str]:
        role = quote_identifier(name)
        login = connection.execute(_LOGIN).one().rolname
        # Before PostgreSQL 16, a login that inherits has the privileges of all roles that it is a member of.
        can_choose = (connection.dialect.server_version_info or ()) >= (16,)
        yield f"GRANT {role} TO CURRENT_USER{' WITH INHERIT TRUE, SET TRUE' if can_choose else ''}"
        for member in self.members:
            if member != login:
                options = " WITH INHERIT FALSE, SET TRUE" if can_choose else ""
                yield f"GRANT {role} TO {quote_identifier(member)}{options}"
        if self.group is not None:
            yield f"GRANT {quote_identifier(self.group)} TO {role}"

    def _read(self, connection: Connection, tenants: Collection[Tenant]) -> list[tuple[Tenant, Any]]:
        by_schema = {tenant.schema: tenant for tenant in tenants}
        given = {
            "schemas": [*by_schema],
            "roles": [role_of(tenant) for tenant in by_schema.values()],
            "members": [*self.members],
            "group": self.group,
        }
        return [(by_schema[row.schema], row) for row in connection.execute(_PRIVILEGES, given)]


def _problems(row: Any, tenant: Tenant) -> Iterator[tuple[str, str | None]]:
    """Yield the problems of a tenant's role, each with its repair."""
    if not row.exists:
        yield "does not exist", "create it"
        return
    if row.mark != _mark_of(tenant):
        yield f"lacks the comment {_mark_of(tenant)!r}", None
        return
    if row.outsiders:
        yield f"does not have the members {', '.join(row.outsiders)}", "add them"
    if not row.is_in_group:
        yield "is not in the group of all of them", "add it"
    closed = row.closed or ()
    if not row.has_defaults or any(is_own for _, is_own in closed):
        yield "lacks privileges in the tenant's schema, or on what migrations will create there", "grant them"
    if others := [name for name, is_own in closed if not is_own]:
        yield f"may not use what another login owns: {first_lines(others)}", None


def _mark_of(tenant: Tenant) -> str:
    """Return the comment that the role of *tenant* carries."""
    return f"tenantkit tenant {tenant.identity}"


def _read_mark(connection: Connection, name: str) -> str | None:
    """Return the comment on a role, an empty string without one, ``None`` without a role."""
    return connection.execute(_MARK, {"name": name}).scalar_one_or_none()
