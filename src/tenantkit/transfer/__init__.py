"""Backup and restore of single tenants. Names are imported on first use."""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from tenantkit.transfer.backups import backup, verify
    from tenantkit.transfer.compare import differences
    from tenantkit.transfer.fleet import backup_all
    from tenantkit.transfer.restoring import preview, restore
    from tenantkit.transfer.results import Backup, FleetBackup, MissingRows, Restored, RestorePlan, TableDifference

__all__ = [
    "Backup",
    "FleetBackup",
    "MissingRows",
    "RestorePlan",
    "Restored",
    "TableDifference",
    "backup",
    "backup_all",
    "differences",
    "preview",
    "restore",
    "verify",
]

__getattr__, __dir__ = lazy_names(globals(), ("results", "backups", "restoring", "fleet", "compare"))
