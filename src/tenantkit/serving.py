"""The sessions of a deployment: for one tenant, and for shared tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from tenantkit.arguments import FLAG, require
from tenantkit.context import current_tenant
from tenantkit.deployment import Deployment
from tenantkit.exceptions import TenantUnavailableError
from tenantkit.isolation.binding import Binding
from tenantkit.sessions.classes import check_session_class, check_session_options, shared_class
from tenantkit.sessions.session import SharedSession, TenantSession
from tenantkit.status import SERVED
from tenantkit.tenant import TENANT, Tenant

MAX_BINDINGS = 128
"""Maximum number of bindings that a tenancy keeps, of about a kilobyte each."""


class Serving(Deployment):
    """A deployment with sessions. A `tenantkit.Tenancy` is one."""

    def _open_sessions(
        self,
        session_class: type[TenantSession],
        shared_session_class: type[Session],
        options: Mapping[str, Any],
    ) -> None:
        """Make what makes sessions, of these classes and with these *options*.

        :raises ConfigurationError: if a class or an option cannot be used.
        """
        self._bindings: dict[int, Binding] = {}
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
            raise TenantUnavailableError(tenant.key, tenant.status)
        binding = self._bindings.get(tenant.id)
        if binding is None or binding.tenant is not tenant:
            if len(self._bindings) >= MAX_BINDINGS:
                self._bindings.clear()
            binding = self._bindings[tenant.id] = isolation.bind(tenant)
        return binding
