"""Backup and restore of single tenants. Names are imported on first use."""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from tenantkit.transfer.backups import backup, verify
    from tenantkit.transfer.restoring import preview, restore
    from tenantkit.transfer.results import Backup, MissingRows, Restored, RestorePlan, TableDifference

__all__ = [
    "Backup",
    "MissingRows",
    "RestorePlan",
    "Restored",
    "TableDifference",
    "backup",
    "preview",
    "restore",
    "verify",
]

__getattr__, __dir__ = lazy_names(globals(), ("results", "backups", "restoring"))
