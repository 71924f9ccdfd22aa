"""The facade: the object that an application makes once, with its tables and its database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

from sqlalchemy import URL, Connection, Engine, MetaData
from sqlalchemy.orm import Session

from tenantkit import drivers
from tenantkit.arguments import (
    FLAG,
    FUNCTION,
    MAPPING,
    PATH,
    SECRETS,
    STORABLE_NAME,
    TEXTS,
    either,
    number,
    one_of,
    optional,
    plain,
    require,
    whole,
)
from tenantkit.databases.base import Databases
from tenantkit.databases.engines import check_server_once, open_engine, parse_url, psycopg_url
from tenantkit.databases.forks import connect_in_each_process
from tenantkit.databases.named import open_databases, require_urls
from tenantkit.isolation.binding import RawSQL
from tenantkit.isolation.built_in import built_in
from tenantkit.isolation.roles import Guard, tenant_roles
from tenantkit.isolation.row.declared import RowColumn
from tenantkit.isolation.tenant_limits import TenantLimits
from tenantkit.lifecycle.builders import CheckedBuilder, MetadataBuilder, Seed, run_seed
from tenantkit.lifecycle.create import FirstRows, create
from tenantkit.lifecycle.doctor import Findings, diagnose, repair
from tenantkit.lifecycle.drop import drop
from tenantkit.lifecycle.operation import operating
from tenantkit.lifecycle.order import check_order
from tenantkit.lifecycle.scheduled_drop import GRACE, schedule_drop
from tenantkit.naming import IDENTIFIER, IDENTIFIERS, SCHEMAS, validate_prefix, validate_reserved
from tenantkit.placement import PlacementPolicy
from tenantkit.registry import tables as registry_tables
from tenantkit.registry.applications import Application
from tenantkit.serving import Serving
from tenantkit.sessions.crossing import CrossDatabaseWrites, SharedTables
from tenantkit.sessions.moved_schemas import look_up_after_errors
from tenantkit.sessions.raw_sql import watch_statements
from tenantkit.sessions.session import Bound, TenantSession
from tenantkit.tables import METADATA, Metadata
from tenantkit.tenant import Isolation, Tenant


class Tenancy(Serving):
    """An application's tenants: their sessions, their registry and their provisioning.

    Make one when the application starts, and share it between threads. It connects when it is first used, not before.
    """

    def __init__(
        self,
        database: str | URL | Engine | Databases | Mapping[str, str | URL | Engine],
        *,
        tenant: MetaData,
        shared: MetaData | None = None,
        placeholder: str | None = "tenant",
        migrations: str | Path | None = None,
        placement: PlacementPolicy | None = None,
        seed: Seed | None = None,
        raw_sql: RawSQL = "allow",
        extra_schemas: Sequence[str] = (),
        session_class: type[TenantSession] = TenantSession,
        shared_session_class: type[Session] = Session,
        session_options: Mapping[str, Any] | None = None,
        cross_database_writes: CrossDatabaseWrites = "refuse",
        application: str | None = None,
        schema_prefix: str = "t_",
        grant_to: str | Collection[str] = (),
        guard: Guard = "none",
        guard_group: str | None = None,
        guard_secret: str | Sequence[str] | None = None,
        limits: TenantLimits | None = None,
        isolation: str = Isolation.SCHEMA,
        rows_schema: str = "rows",
        row_column: str | None = None,
        unscoped_url: str | URL | None = None,
        database_prefix: str | None = None,
        reserved_keys: Collection[str] = (),
        reserved_domains: Collection[str] = (),
        cache_ttl: float = 60.0,
        cache_size: int = 2_000,
        listen: bool = True,
        engine_options: Mapping[str, Any] | None = None,
        engine_budget: int = 20,
    ) -> None:
        """Make a tenancy.

        :param database: a URL, for which an engine is made with *engine_options*, or an `Engine`; or several of these
            by name, with the registry and the shared tables in ``main``: ``{"main": url, "eu": url}``.
        :param tenant: the metadata of tenant tables, or of all tables.
        :param shared: the metadata of shared tables, if they have one of their own.
        :param placeholder: the schema that tenant tables are declared with; ``None`` if with none at all.
        :param migrations: the folder of the Alembic environment; without one, tables are made from the metadata.
        :param placement: chooses the database of each new tenant: see `tenantkit.placement`. By default, ``main``.
        :param seed: called with a session of each new tenant, in the transaction that creates it.
        :param raw_sql: whether sessions execute textual SQL: see `tenantkit.isolation.binding.RawSQL`.
        :param extra_schemas: the schemas after the tenant's own on the search_path, for example
            ``("public",)`` for the types, functions and operators of extensions. Empty by default: a table
            missing from a tenant's schema must not be found elsewhere.
        :param application: the name of the application, which the registry keeps. A database has one registry, for one
            application; one that has another name, or without names another *schema_prefix* or *placeholder*, is
            refused. With a name, these two may change later.
        :param schema_prefix: the text before the key in a new tenant's schema name. With more than 10 bytes, keys
            have fewer than 48: PostgreSQL's names have 63, of which 5 are for later tenants with the same key.
        :param session_class: the class of tenant sessions, a subclass of `TenantSession`. Another library's session
            joins as its second base: ``class AppSession(TenantSession, sqlmodel.Session)``.
        :param shared_session_class: the class of sessions for shared tables, for example ``sqlmodel.Session``.
        :param session_options: options of every `sqlalchemy.orm.Session`, which those of one session replace.
        :param cross_database_writes: see `tenantkit.sessions.crossing.CrossDatabaseWrites`.
        :param grant_to: the role, or the roles, that the application connects as, if it is not the one that creates and
            migrates tenants. It may read and write each new tenant's tables, also those that migrations add;
            ``tenantkit migrate`` lets it read the registry.
        :param guard: ``role`` if each transaction of a tenant's session works as a role of the tenant's own, which
            *grant_to* may take on, and which has no privileges in other schemas; ``login`` if the connections of the
            session log in as that role: see `tenantkit.isolation.roles.Guard`.
        :param limits: settings of each transaction of a tenant's session: ``{"statement_timeout": "30s"}``, or a
            function that returns those of a tenant. See `tenantkit.isolation.tenant_limits.LIMITS`.
        :param guard_secret: a random text of at least 32 characters, from which the passwords of ``login`` are derived;
            or a list of these, the newest first, while it is being replaced.
        :param guard_group: a role whose privileges, such as those on shared tables, each tenant's role has.
        :param isolation: of new tenants, unless `create` names one: ``schema``, ``database`` for a database of its own,
            or ``row`` for rows in a common schema.
        :param rows_schema: the common schema of tenants with row isolation.
        :param database_prefix: the text before the key in the name of a new tenant's own database; by default the name
            of the main database, and ``_``.
        :param row_column: the column that says to which tenant a row belongs, if the models declare one. It has a
            bigint, an integer, a text or a UUID; by default, common tables get a column of tenantkit's own.
        :param unscoped_url: the login of `unscoped_session`, for which row security does not hold.
        :param reserved_keys: keys refused besides the built-in ones, for example ``("www", "api")``.
        :param reserved_domains: the application's own hosts, which no tenant may have: ``example.com`` also reserves
            ``www.example.com``, and ``*.example.com`` every host below it.
        :param cache_ttl: the seconds for which a tenant is cached if no notification arrives; 0 queries every time.
        :param cache_size: the maximum number of cached lookups, at least 1, of about half a kilobyte each.
        :param listen: receive notifications of changes, on a connection; PgBouncer in transaction mode needs False.
        :param engine_budget: the maximum number of connections of a process to tenants' own databases, or by tenants'
            own logins, all together. A session waits for one as long as ``pool_timeout`` of *engine_options* says.
        :raises ConfigurationError: if the tables could not work as they are declared, or an option makes no sense.
        :raises TypeError: if an option has the wrong type.
        """
        require(engine_options=(engine_options, optional(MAPPING)))
        own_options = dict(engine_options or {})
        require(engine_budget=(engine_budget, whole(1)))
        databases = open_databases(database, own_options, engine_budget)
        require(
            tenant=(tenant, METADATA),
            shared=(shared, optional(METADATA)),
            placeholder=(placeholder, optional(IDENTIFIER)),
            migrations=(migrations, optional(PATH)),
            placement=(placement, optional(FUNCTION)),
            seed=(seed, optional(FUNCTION)),
            raw_sql=(raw_sql, one_of(*get_args(RawSQL))),
            cross_database_writes=(cross_database_writes, one_of(*get_args(CrossDatabaseWrites))),
            extra_schemas=(extra_schemas, SCHEMAS),
            cache_ttl=(cache_ttl, number(0)),
            cache_size=(cache_size, whole(1)),
            listen=(listen, FLAG),
            application=(application, optional(STORABLE_NAME)),
            grant_to=(grant_to, either(IDENTIFIER, IDENTIFIERS)),
            guard=(guard, one_of(*get_args(Guard))),
            guard_group=(guard_group, optional(IDENTIFIER)),
            guard_secret=(guard_secret, optional(SECRETS)),
            isolation=(isolation, one_of(*Isolation)),
            rows_schema=(rows_schema, IDENTIFIER),
            row_column=(row_column, optional(IDENTIFIER)),
            database_prefix=(database_prefix, optional(IDENTIFIER)),
            reserved_domains=(reserved_domains, TEXTS),
            session_options=(session_options, optional(MAPPING)),
        )
        if guard == "login":
            require_urls(database, own_options)
        placeholder, application = (name and plain(name) for name in (placeholder, application))
        roles = tuple(map(plain, (grant_to,) if isinstance(grant_to, str) else grant_to))
        prefix, others = validate_prefix(schema_prefix), tuple(map(plain, extra_schemas))
        self.raw_sql: RawSQL = raw_sql
        self.tenant_roles = tenant_roles(databases, guard, roles, guard_group, guard_secret, isolation)
        databases.prepare(connect_in_each_process)
        super().__init__(
            databases,
            built_in(
                databases,
                default=isolation,
                placeholder=placeholder,
                raw_sql=raw_sql,
                extra_schemas=others,
                grant_to=roles,
                roles=self.tenant_roles,
                schema_prefix=prefix,
                rows_schema=rows_schema,
                row_column=RowColumn(row_column, lambda: self.tables),
                database_prefix=database_prefix and plain(database_prefix),
                shared_schemas=lambda: self.shared_schemas,
            ),
            Application(application, prefix, placeholder),
            metadata=Metadata(shared, tenant),
            extra_schemas=others,
            engine_options=own_options,
            grant_to=roles,
            reserved_domains=reserved_domains,
            migrations=migrations,
            cache_ttl=cache_ttl,
            cache_size=cache_size,
            listen=listen,
        )
        every = (registry_tables.metadata, tenant, shared)
        self.shared_tables = SharedTables(every, placeholder, cross_database_writes)
        self._seed = seed
        self.placement_policy = placement
        self.reserved_keys = validate_reserved(reserved_keys)
        databases.prepare(lambda engine: check_server_once(engine, placeholder))
        databases.prepare(drivers.install)
        databases.prepare(lambda engine: watch_statements(engine, placeholder))
        databases.prepare(lambda engine: look_up_after_errors(engine, self.lookups.forget))
        self._rows_schema = rows_schema
        if unscoped_url is not None:
            self._unscoped_engine = open_engine(psycopg_url(parse_url(unscoped_url, "unscoped_url")), own_options)
            connect_in_each_process(self._unscoped_engine)
        _ = self.tables
        self._open_sessions(session_class, shared_session_class, session_options or {}, limits)

    # Provisioning

    def create(
        self,
        key: str,
        *,
        name: str | None = None,
        domains: Sequence[str] = (),
        attributes: Mapping[str, Any] | None = None,
        database: str | None = None,
        isolation: str | None = None,
        row_value: str | int | UUID | None = None,
        seed: Seed | None = None,
    ) -> Tenant:
        """Create a tenant with its schema and tables, and return it, ready to be used.

        A creation that failed or was killed is finished by the next one with the same key.

        :param database: the database to create it in, or on whose server to, in place of that of ``placement=``.
        :param isolation: ``schema``, ``database`` or ``row``; by default the tenancy's own ``isolation``.
        :param row_value: the tenant's value of ``row_column``, which no other tenant has, and which never changes; by
            default a new UUID, or the tenant's id.
        :param seed: called, after the tenancy's own seed, with a session of the tenant; its rows are
            committed together with everything else. It runs again if a lock conflict ends the transaction.
        :raises InvalidTenantKeyError: if the key breaks the rules.
        :raises TenantExistsError: if the key is taken, or another process is creating it.
        :raises DomainExistsError: if a domain is taken.
        :raises ProvisioningError: if a step failed.
        :raises ConfigurationError: if there is no usable migration environment, or an argument cannot be used.
        """
        require(seed=(seed, optional(FUNCTION)))
        order = check_order(
            self,
            key,
            name=name,
            domains=domains,
            attributes=attributes,
            database=database,
            isolation=isolation,
            row_value=row_value,
            policy=self.placement_policy,
            reserved=self.reserved_keys,
        )
        seeds = [each for each in (self._seed, seed) if each is not None]

        def fill(there: Connection, tenant: Tenant) -> None:
            binding = self.bind(tenant, any_status=True)
            for each in seeds:
                run_seed(there, Bound(self.databases, binding, self.shared_tables, connection), each, self.sessionmaker)

        with self.lookups.forgetting(key), operating(self) as connection:
            return create(self, connection, order, build=self._builder, rows=FirstRows(fill) if seeds else None)

    def drop(self, key: str, *, after: timedelta | None = None) -> Tenant:
        """Remove a tenant and all of its data for good, and return it with its last status.

        That is the status before the removal, or ``dropping`` if an earlier removal was interrupted.

        :param after: only stop serving it, and let `tenantkit.lifecycle.drop_due` remove it after this time, unless
            `tenantkit.lifecycle.cancel_drop` is called before. The tenant is then returned with its `Tenant.drop_at`.
        :raises TenantNotFoundError: if there is no such tenant.
        :raises ProvisioningError: if other schemas depend on the tenant's, or transactions have locked its tables.
        :raises IllegalTransitionError: if *after* is given, and the tenant is unfinished.
        """
        require(after=(after, optional(GRACE)))
        with self.lookups.forgetting(key), operating(self) as connection:
            return drop(self, connection, key) if after is None else schedule_drop(self, connection, key, after)

    def diagnose(self) -> Findings:
        """Return the tenants and schemas that interrupted processes left incomplete."""
        with operating(self) as connection:
            return diagnose(self, connection)

    def repair(self) -> Findings:
        """Repair what `diagnose` finds, and return the findings."""
        try:
            with operating(self) as connection:
                return repair(self, connection)
        finally:
            self.cache.clear()

    # Inside

    @cached_property
    def _builder(self) -> CheckedBuilder:
        if self.migrations is None:
            return CheckedBuilder(self, MetadataBuilder(self))
        # Alembic takes longer to import than all of tenantkit.
        from tenantkit.migrations.replay.creation import ScriptBuilder  # noqa: PLC0415

        return CheckedBuilder(self, ScriptBuilder(self))
