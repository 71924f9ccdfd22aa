"""Roles of tenants in the catalog of a server: recognized as ours, and what they may do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from tenantkit.naming import first_lines

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.databases.logins import Login
    from tenantkit.tenant import Tenant

LOGIN = text(
    "SELECT rolname AS name, rolsuper OR rolcreaterole AS may_create FROM pg_roles WHERE rolname = current_user"
)
_ABSENT = text("SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regrole(quote_ident(name)) IS NULL")
_MARK = text("SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = :name")
_CLOSED_DATABASE = text(
    """
    SELECT quote_ident(datname) FROM pg_database WHERE datname = current_database()
    AND NOT has_database_privilege(oid, 'CONNECT WITH GRANT OPTION') AND NOT has_database_privilege(
        CASE WHEN CAST(:group AS text) IS NULL THEN 'public' ELSE :group END, oid, 'CONNECT'
    )
    """
)
_END = text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = :name")
_MARKED = text(
    """
    SELECT rolname, split_part(shobj_description(oid, 'pg_authid'), '/', 2)::bigint AS tenant_id FROM pg_roles
    WHERE shobj_description(oid, 'pg_authid') ~ ('^tenantkit tenant ' || :registry || '/[0-9]+$') ORDER BY tenant_id
    """
)
# All roles of tenants have the same privileges outside of their own schemas, so one of them is enough.
_ONE_ROLE = "(SELECT oid FROM pg_roles WHERE rolname = ANY(:roles) AND NOT rolsuper ORDER BY rolname LIMIT 1)"
_OPEN_SCHEMAS = text(
    f"""
    SELECT quote_ident(nspname) FROM pg_namespace
    WHERE nspname !~ '^pg_(toast_)?temp_' AND has_schema_privilege({_ONE_ROLE}, oid, 'CREATE') ORDER BY 1
    """  # noqa: S608 - nothing comes from outside
)
_DEFINERS = text(
    f"""
    SELECT pg_proc.oid::regprocedure::text FROM pg_proc JOIN pg_roles AS owner ON owner.oid = proowner
    WHERE prosecdef AND has_schema_privilege({_ONE_ROLE}, pronamespace, 'USAGE')
        AND has_function_privilege({_ONE_ROLE}, pg_proc.oid, 'EXECUTE') AND (rolsuper OR EXISTS (
            SELECT FROM pg_namespace
            WHERE nspname = ANY(:schemas) AND has_schema_privilege(proowner, pg_namespace.oid, 'USAGE')
        ))
    ORDER BY 1
    """  # noqa: S608 - nothing comes from outside
)
_PRIVILEGES = text(
    """
    SELECT nspname AS schema, role.oid IS NOT NULL AS exists, shobj_description(role.oid, 'pg_authid') AS mark,
        role.rolcanlogin AS can_log_in,
        role.rolconnlimit = 0 OR coalesce(role.rolvaliduntil, 'infinity') < now() AS is_limited,
        ARRAY(SELECT power FROM (VALUES
            ('SUPERUSER', role.rolsuper, own.rolsuper),
            ('BYPASSRLS', role.rolbypassrls, own.rolsuper),
            ('REPLICATION', role.rolreplication, own.rolsuper),
            ('CREATEDB', role.rolcreatedb, own.rolsuper OR own.rolcreatedb AND NOT role.rolsuper),
            ('CREATEROLE', role.rolcreaterole, own.rolsuper OR NOT role.rolsuper)
        ) AS each (power, is_held, is_removable) WHERE is_held AND is_removable) AS removable_powers,
        ARRAY(SELECT power FROM (VALUES ('SUPERUSER', role.rolsuper), ('BYPASSRLS', role.rolbypassrls),
            ('REPLICATION', role.rolreplication), ('CREATEDB', role.rolcreatedb), ('CREATEROLE', role.rolcreaterole)
        ) AS each (power, is_held) WHERE is_held) AS powers,
        ARRAY(SELECT quote_ident(other.rolname) FROM pg_auth_members JOIN pg_roles AS other ON other.oid = roleid
            WHERE member = role.oid AND other.rolname IS DISTINCT FROM CAST(:group AS text)
            GROUP BY other.rolname ORDER BY other.rolname) AS groups,
        ARRAY(SELECT each FROM unnest(CAST(:members AS text[])) AS each
            WHERE NOT pg_has_role(each, role.oid, 'MEMBER')) AS outsiders,
        (SELECT json_agg(json_build_array(
                each, current_setting('server_version_num')::int < 160000 OR pg_has_role(grantor, 'USAGE')
            )) FROM unnest(CAST(:members AS text[])) AS each
            JOIN pg_auth_members ON roleid = role.oid AND member = to_regrole(quote_ident(each))::oid
            WHERE each <> current_user) AS insiders,
        has_database_privilege(role.oid, current_database(), 'CONNECT') AS may_connect,
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
    JOIN pg_roles AS own ON own.rolname = current_user
    LEFT JOIN pg_roles AS role ON role.rolname = given.role
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Privileges:
    """What the role of a tenant is and may do."""

    schema: str
    exists: bool
    mark: str | None
    wanted_mark: str
    can_log_in: bool | None
    logs_in: bool
    """Whether connections are to log in as it."""
    is_limited: bool | None
    """Whether it may have no connection at all, or its password has expired."""
    removable_powers: Sequence[str]
    """Those of its *powers* that the current login may take away."""
    powers: Sequence[str]
    """Attributes of the role that no tenant's role has."""
    groups: Sequence[str]
    """Other roles whose privileges it has."""
    outsiders: Sequence[str]
    """Those logins of the application that cannot take it on."""
    insiders: Sequence[tuple[str, bool]] | None
    """Those that were granted the role, and whether the current login may revoke that."""
    may_connect: bool | None
    is_in_group: bool
    has_defaults: bool
    closed: Sequence[tuple[str, bool]] | None
    """What the schema has that the role may not use, and whether it is the current login's."""

    @property
    def can_be_tried(self) -> bool:
        """Whether a connection that logs in as the role says anything new."""
        is_open = self.can_log_in and self.may_connect and not self.is_limited
        return self.logs_in and bool(is_open) and self.mark == self.wanted_mark

    def problems(self) -> Iterator[tuple[str, str | None]]:
        """Yield the problems of the role, each with its repair."""
        if not self.exists:
            yield "does not exist", "create it"
        elif self.mark != self.wanted_mark:
            yield f"lacks the comment {self.wanted_mark!r}", None
        else:
            yield from self._attributes()
            yield from self._memberships()
            yield from self._in_the_schema()

    def _attributes(self) -> Iterator[tuple[str, str | None]]:
        if self.logs_in and not self.may_connect:
            yield "may not connect to the database", "permit it"
        if self.can_log_in != self.logs_in:
            yield ("cannot log in", "let it log in") if self.logs_in else ("can log in", "keep it from logging in")
        elif self.logs_in and self.is_limited:
            yield "has CONNECTION LIMIT 0, or a password that is not valid any more", "lift both limits"
        if self.removable_powers:
            yield f"has {', '.join(self.removable_powers)}", "take that away"
        if others := [power for power in self.powers if power not in self.removable_powers]:
            takes = " ".join(f"NO{power}" for power in others)
            yield f"has {', '.join(others)}; as a superuser, execute ALTER ROLE … {takes}", None

    def _memberships(self) -> Iterator[tuple[str, str | None]]:
        if self.groups:
            yield f"has the privileges of other roles; REVOKE {', '.join(self.groups)} FROM it", None
        if self.outsiders and not self.logs_in:
            yield f"does not have the members {', '.join(self.outsiders)}", "add them"
        for member, is_revocable in self.insiders or () if self.logs_in else ():
            yield f"was granted to {member}, which guard='login' does not need", "revoke it" if is_revocable else None
        if not self.is_in_group:
            yield "is not in the group of all of them", "add it"

    def _in_the_schema(self) -> Iterator[tuple[str, str | None]]:
        closed = self.closed or ()
        if not self.has_defaults or any(is_own for _, is_own in closed):
            yield "lacks privileges in the tenant's schema, or on what migrations will create there", "grant them"
        if theirs := [name for name, is_own in closed if not is_own]:
            yield f"may not use what another login owns: {first_lines(theirs)}", None


def read_privileges(
    connection: Connection, roles: Mapping[Tenant, str], members: Sequence[str], group: str | None, *, logs_in: bool
) -> list[tuple[Tenant, Privileges]]:
    """Return what the *roles* of tenants are and may do in the tenants' schemas, which are there."""
    by_schema = {tenant.schema: tenant for tenant in roles}
    given = {"schemas": [*by_schema], "roles": [*roles.values()], "members": [*members], "group": group}
    rows = connection.execute(_PRIVILEGES, given).mappings()
    return [
        (tenant := by_schema[row["schema"]], Privileges(**row, wanted_mark=mark_of(tenant), logs_in=logs_in))
        for row in rows
    ]


def mark_of(tenant: Tenant) -> str:
    """Return the comment that the role of *tenant* carries."""
    return f"tenantkit tenant {tenant.identity}"


def read_mark(connection: Connection, name: str) -> str | None:
    """Return the comment on a role, an empty string without one, ``None`` without a role."""
    return connection.execute(_MARK, {"name": name}).scalar_one_or_none()


def missing(connection: Connection, names: Collection[str]) -> str | None:
    """Return one of *names* that is no role."""
    return connection.execute(_ABSENT, {"names": [*names]}).scalars().first()


def closed_database(connection: Connection, group: str | None) -> str | None:
    """Return the quoted name of the database of *connection* if its login cannot let roles of tenants connect to it."""
    return connection.execute(_CLOSED_DATABASE, {"group": group}).scalar_one_or_none()


def orphans(connection: Connection, registry: str, known: Collection[int]) -> list[str]:
    """Return the roles for tenants of *registry* that are not *known*, by their ids."""
    rows = connection.execute(_MARKED, {"registry": registry})
    return [row.rolname for row in rows if row.tenant_id not in known]


def open_schemas(connection: Connection, roles: Collection[str]) -> list[str]:
    """Return the quoted names of the schemas in which *roles* may create objects."""
    return list(connection.execute(_OPEN_SCHEMAS, {"roles": [*roles]}).scalars())


def definers(connection: Connection, roles: Collection[str], schemas: Collection[str]) -> list[str]:
    """Return the functions with privileges of an owner in *schemas* of tenants that *roles* may execute."""
    return list(connection.execute(_DEFINERS, {"roles": [*roles], "schemas": [*schemas]}).scalars())


def end_sessions(connection: Connection, name: str) -> None:
    """End the sessions of a role."""
    connection.execute(_END, {"name": name})


def verifier(connection: Connection, login: Login) -> str:
    """Return what the server stores in place of the password, which is not sent to it."""
    driver: Any = connection.connection.driver_connection
    verified: bytes = driver.pgconn.encrypt_password(login.password.encode(), login.name.encode(), b"scram-sha-256")
    return verified.decode()
