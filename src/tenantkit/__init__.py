"""Multitenancy for SQLAlchemy and PostgreSQL."""

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
