"""The sessions of a deployment: for one tenant, and for shared tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker
from typing_extensions import override

from tenantkit.arguments import FLAG, STORABLE_NAME, require
from tenantkit.context import current_tenant
from tenantkit.deployment import Deployment
from tenantkit.exceptions import ConfigurationError, TenantUnavailableError
from tenantkit.isolation.binding import Binding
from tenantkit.isolation.tenant_limits import TenantLimits, limits_function
from tenantkit.postgres.quoting import search_path
from tenantkit.sessions.classes import check_session_class, check_session_options, shared_class
from tenantkit.sessions.session import SharedSession, TenantSession
from tenantkit.sessions.unscoped import CommonTables, UnscopedSession
from tenantkit.status import SERVED
from tenantkit.tenant import TENANT, Tenant

MAX_BINDINGS = 2_000
"""Maximum number of bindings that a tenancy keeps, of about a kilobyte each: the default number of cached tenants."""


class Serving(Deployment):
    """A deployment with sessions. A `tenantkit.Tenancy` is one."""

    _unscoped_engine: Engine | None = None
    """The engine of unscoped sessions."""
    _rows_schema: str | None = None
    """The common schema of tenants with row isolation."""

    def _open_sessions(
        self,
        session_class: type[TenantSession],
        shared_session_class: type[Session],
        options: Mapping[str, Any],
        limits: TenantLimits | None,
    ) -> None:
        """Make what makes sessions, of these classes and with these *options* and *limits*.

        :raises ConfigurationError: if a class or an option cannot be used.
        """
        self._bindings: dict[int, Binding] = {}
        self._limits = limits_function(limits)
        check_session_class(session_class)
        check_session_options(dict(options), session_class)
        self.sessionmaker: sessionmaker[TenantSession] = sessionmaker(
            self.engine, class_=session_class, binder=self, **options
        )
        """A plain SQLAlchemy `sessionmaker`, for wiring of your own; its sessions take the current tenant."""
        self._shared_sessionmaker: sessionmaker[SharedSession] = sessionmaker(
            self.engine, class_=shared_class(shared_session_class), placeholder=self.placeholder, **options
        )

    def session(self, tenant: Tenant | str | None = None, *, any_status: bool = False, **options: Any) -> TenantSession:
        """Return a session for *tenant*, or for the current tenant, as it is now.

        A `Tenant` is looked up again, in this process's memory if it is there, since its status may have changed.
        The session is of the tenancy's ``session_class``; *options* are those of `sqlalchemy.orm.Session`.

        :param any_status: also serve a tenant that is not active, for maintenance.
        :raises NoCurrentTenantError: if no tenant is given and none is current.
        :raises TenantNotFoundError: if there is no such tenant, or not any more.
        :raises TenantMismatchError: if the tenant is from another registry, or its key belongs to another one now.
        :raises TenantUnavailableError: if the tenant is not active.
        """
        return self.sessionmaker(tenant=tenant, any_status=any_status, **options)

    def shared_session(self, **options: Any) -> Session:
        """Return a plain session for shared tables; a tenant table fails in it, whatever tenant is current."""
        return self._shared_sessionmaker(**options)

    def unscoped_session(self, *, reason: str, **options: Any) -> Session:
        """Return a session that reads the rows of all tenants in common tables, and logs a warning with the *reason*.

        It has the login of ``unscoped_url=``, and changes nothing. It loads objects only of tables whose keys are
        unique among all tenants; of others, select columns.

        :raises ConfigurationError: if the tenancy has no such login.
        """
        return UnscopedSession(self._unscoped_engine, **self.unscoped(reason), **options)

    def unscoped(self, reason: str) -> Mapping[str, Any]:
        """Return the options of an unscoped session; raises as `unscoped_session` does."""
        require(reason=(reason, STORABLE_NAME))
        if self._unscoped_engine is None or self._rows_schema is None:
            raise ConfigurationError(
                "Sessions for the rows of all tenants need a login of their own, for which row security does not "
                "hold: Tenancy(unscoped_url=...). Give it to the processes that need it only."
            )
        path = search_path(self._rows_schema, *self.extra_schemas)
        return {
            "tables": CommonTables(self._rows_schema, path, self.placeholder, self.isolations.row_column()),
            "reason": reason,
        }

    @override
    def close(self) -> None:
        """Stop listening and close idle connections."""
        super().close()
        if self._unscoped_engine is not None:
            self._unscoped_engine.dispose()

    def binding(self, tenant: Tenant | str | None = None, *, any_status: bool = False) -> Binding:
        """Return the binding of *tenant*, or of the current tenant; raises as `session` does."""
        self.check_tables_once()
        if isinstance(tenant, str):
            known = self.get(tenant)
        else:
            known = self.renewed(current_tenant() if tenant is None else tenant)
        return self.bind(known, any_status=any_status)

    def bind(self, tenant: Tenant, *, any_status: bool = False) -> Binding:
        """Return the binding of *tenant* without any I/O.

        :raises TenantUnavailableError: if the tenant is not active, unless *any_status*; or if a newer version of
            tenantkit has given it a status or a place that this one does not know.
        """
        if type(tenant) is not Tenant or type(any_status) is not bool:  # `require` takes longer than all the rest
            require(tenant=(tenant, TENANT), any_status=(any_status, FLAG))
        isolation = self.isolations.of(tenant)
        if tenant.status not in SERVED and not any_status:
            raise TenantUnavailableError(tenant.key, tenant.status, message=tenant.message, until=tenant.until)
        binding = self._bindings.get(tenant.id)
        if binding is None or binding.tenant is not tenant:
            if len(self._bindings) >= MAX_BINDINGS:
                self._bindings.clear()
            binding = isolation.bind(tenant)
            if self._limits is not None:
                binding = replace(binding, settings=(*self._limits(tenant), *binding.settings))
            self._bindings[tenant.id] = binding
        return binding
