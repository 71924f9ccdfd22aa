"""Multitenancy for SQLAlchemy and PostgreSQL.

Names are imported on first use, so that the command line handles signals before it imports SQLAlchemy.
"""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from tenantkit.context import current_tenant, tenant_context
    from tenantkit.exceptions import (
        AdoptionError,
        BackupError,
        ConfigurationError,
        CrossDatabaseError,
        DomainExistsError,
        DrainError,
        IllegalTransitionError,
        InvalidDomainError,
        InvalidTenantKeyError,
        MigrationError,
        NoCurrentTenantError,
        ProvisioningError,
        RawSQLForbiddenError,
        SchemaRenameError,
        TenantExistsError,
        TenantkitError,
        TenantMismatchError,
        TenantMovedError,
        TenantNotFoundError,
        TenantReadOnlyError,
        TenantUnavailableError,
    )
    from tenantkit.sessions.session import TenantSession
    from tenantkit.sessions.tenant_text import tenant_text
    from tenantkit.status import Status
    from tenantkit.tenancy import Tenancy
    from tenantkit.tenant import Isolation, Placement, Tenant

__all__ = [
    "AdoptionError",
    "BackupError",
    "ConfigurationError",
    "CrossDatabaseError",
    "DomainExistsError",
    "DrainError",
    "IllegalTransitionError",
    "InvalidDomainError",
    "InvalidTenantKeyError",
    "Isolation",
    "MigrationError",
    "NoCurrentTenantError",
    "Placement",
    "ProvisioningError",
    "RawSQLForbiddenError",
    "SchemaRenameError",
    "Status",
    "Tenancy",
    "Tenant",
    "TenantExistsError",
    "TenantMismatchError",
    "TenantMovedError",
    "TenantNotFoundError",
    "TenantReadOnlyError",
    "TenantSession",
    "TenantUnavailableError",
    "TenantkitError",
    "current_tenant",
    "tenant_context",
    "tenant_text",
]

__getattr__, __dir__ = lazy_names(
    globals(),
    ("exceptions", "status", "tenant", "context", "sessions.session", "sessions.tenant_text", "tenancy"),
)
