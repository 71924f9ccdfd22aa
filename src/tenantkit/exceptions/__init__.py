"""The errors that tenantkit raises.

::

    TenantkitError
    ├── ConfigurationError
    ├── InvalidTenantKeyError (ValueError)
    ├── InvalidDomainError (ValueError)
    ├── NoCurrentTenantError (LookupError)
    ├── TenantMismatchError
    ├── TenantNotFoundError (LookupError)
    ├── TenantExistsError
    ├── DomainExistsError
    ├── TenantUnavailableError
    │   ├── TenantMovedError
    │   └── TenantReadOnlyError
    ├── IllegalTransitionError
    ├── CrossDatabaseError
    ├── RawSQLForbiddenError
    ├── ProvisioningError
    ├── SchemaRenameError
    ├── BackupError
    ├── DrainError
    ├── AdoptionError
    └── MigrationError

Every message says what to do next, and none contains a password. Errors of the
database itself (`sqlalchemy.exc.DBAPIError`) are passed on unchanged.
"""

from tenantkit.exceptions.base import (
    ConfigurationError,
    TenantkitError,
)
from tenantkit.exceptions.operations import (
    AdoptionError,
    BackupError,
    CrossDatabaseError,
    DrainError,
    MigrationError,
    ProvisioningError,
    RawSQLForbiddenError,
    SchemaRenameError,
)
from tenantkit.exceptions.tenants import (
    DomainExistsError,
    IllegalTransitionError,
    InvalidDomainError,
    InvalidTenantKeyError,
    NoCurrentTenantError,
    TenantExistsError,
    TenantMismatchError,
    TenantMovedError,
    TenantNotFoundError,
    TenantReadOnlyError,
    TenantUnavailableError,
)

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
    "MigrationError",
    "NoCurrentTenantError",
    "ProvisioningError",
    "RawSQLForbiddenError",
    "SchemaRenameError",
    "TenantExistsError",
    "TenantMismatchError",
    "TenantMovedError",
    "TenantNotFoundError",
    "TenantReadOnlyError",
    "TenantUnavailableError",
    "TenantkitError",
]

for _name in __all__:  # so that tracebacks, pickles and logs show where to import them from
    globals()[_name].__module__ = __name__
