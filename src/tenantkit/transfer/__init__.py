"""Backup, restore, clone, move and export of single tenants. Names are imported on first use."""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from tenantkit.transfer.backups import backup, verify
    from tenantkit.transfer.cloning import clone, preview_clone
    from tenantkit.transfer.compare import differences
    from tenantkit.transfer.exporting import export
    from tenantkit.transfer.fleet import backup_all
    from tenantkit.transfer.moving import Move, finish_move, move
    from tenantkit.transfer.restoring import preview, restore
    from tenantkit.transfer.results import (
        Backup,
        Cloned,
        ClonePlan,
        Export,
        FleetBackup,
        MissingRows,
        Restored,
        RestorePlan,
        TableDifference,
    )
    from tenantkit.transfer.transform import Transform

__all__ = [
    "Backup",
    "ClonePlan",
    "Cloned",
    "Export",
    "FleetBackup",
    "MissingRows",
    "Move",
    "RestorePlan",
    "Restored",
    "TableDifference",
    "Transform",
    "backup",
    "backup_all",
    "clone",
    "differences",
    "export",
    "finish_move",
    "move",
    "preview",
    "preview_clone",
    "restore",
    "verify",
]

__getattr__, __dir__ = lazy_names(
    globals(), ("results", "backups", "restoring", "fleet", "compare", "cloning", "transform", "moving", "exporting")
)
