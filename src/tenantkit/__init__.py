"""Multitenancy for SQLAlchemy and PostgreSQL.

Names are imported on first use, so that the command line handles signals before it imports SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenantkit.context import current_tenant, tenant_context
    from tenantkit.exceptions import (
        ConfigurationError,
        DomainExistsError,
        IllegalTransitionError,
        InvalidDomainError,
        InvalidTenantKeyError,
        MigrationError,
        NoCurrentTenantError,
        ProvisioningError,
        RawSQLForbiddenError,
        TenantExistsError,
        TenantkitError,
        TenantMismatchError,
        TenantNotFoundError,
        TenantUnavailableError,
    )
    from tenantkit.sessions.session import TenantSession
    from tenantkit.status import Status
    from tenantkit.tenancy import Tenancy
    from tenantkit.tenant import Isolation, Placement, Tenant

__all__ = [
    "ConfigurationError",
    "DomainExistsError",
    "IllegalTransitionError",
    "InvalidDomainError",
    "InvalidTenantKeyError",
    "Isolation",
    "MigrationError",
    "NoCurrentTenantError",
    "Placement",
    "ProvisioningError",
    "RawSQLForbiddenError",
    "Status",
    "Tenancy",
    "Tenant",
    "TenantExistsError",
    "TenantMismatchError",
    "TenantNotFoundError",
    "TenantSession",
    "TenantUnavailableError",
    "TenantkitError",
    "current_tenant",
    "tenant_context",
]

_MODULES = ("exceptions", "status", "tenant", "context", "sessions.session", "tenancy")
"""Where they are, in the order of their imports."""


def __getattr__(name: str) -> Any:
    if name not in __all__:  # such as a module that is about to be imported
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modules = (import_module(f"{__name__}.{module}") for module in _MODULES)
    value = globals()[name] = next(vars(module)[name] for module in modules if name in vars(module))
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
